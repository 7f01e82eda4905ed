package framing

import (
	"encoding/binary"
	"sync"
)

const (
	// frameHeader is the size of what is around the records of a stream: a MUX
	// record with a smux frame in it.
	frameHeader = recordHeader + smuxHeader
	// fullFrame is a frame as long as they get: just one TLS record of 16 KiB.
	fullFrame = frameHeader + smuxFrame
	// maxOut is how much data may be queued on a stream while more is written.
	maxOut = 4 * fullFrame
	// atOnce is how much less than a frame is worth no goroutine: Write itself
	// sees to it that it is written.
	atOnce = 8 << 10
	// worthFilling is how much room there is in a frame that is worth a DATA
	// record of its own.
	worthFilling = 1 << 10
)

// The sizes of the buffers of Stream.out in bytes. Most of what is sent is
// small, and when a link is slow each of its streams may hold one.
const (
	smallOut  = 4 << 10
	mediumOut = 2 * fullFrame
	largeOut  = maxOut + fullFrame
)

// The pools are shared by all links, as a buffer is held only as long as there
// is something in it.
var (
	smallOuts  = sync.Pool{New: func() any { return newOut(smallOut) }}
	mediumOuts = sync.Pool{New: func() any { return newOut(mediumOut) }}
	largeOuts  = sync.Pool{New: func() any { return newOut(largeOut) }}
)

func newOut(size int) *[]byte {
	b := make([]byte, 0, size)
	return &b
}

// outs returns the pool of the buffers that hold n bytes; above largeOut that is
// none.
func outs(n int) *sync.Pool {
	switch {
	case n <= smallOut:
		return &smallOuts
	case n <= mediumOut:
		return &mediumOuts
	case n <= largeOut:
		return &largeOuts
	}
	return nil
}

// growOut returns out with room for n bytes more.
func growOut(out []byte, n int) []byte {
	n += len(out)
	p := outs(n)
	if n <= cap(out) || p == nil {
		return out // append does it
	}
	b := append((*p.Get().(*[]byte))[:0], out...)
	putOut(out)
	return b
}

func putOut(b []byte) {
	if p := outs(cap(b)); p != nil && b != nil {
		p.Put(&b)
	}
}

// queueLocked appends as much of p to out, as DATA, as credit and room allow,
// and returns how much that was.
func (s *Stream) queueLocked(p []byte) int {
	total := 0
	for {
		room := fullFrame - (len(s.out) - s.frame)
		if len(s.out) == 0 || room < recordHeader+worthFilling {
			room = smuxFrame
		}
		n := s.fitLocked(min(len(p), room-recordHeader, s.credit, maxOut-len(s.out)-frameHeader-recordHeader))
		if n <= 0 {
			return total
		}
		s.recordLocked(recData, p[:n])
		s.credit -= n
		s.sent += int64(n)
		s.notices.spoke = true
		total += n
		p = p[n:]
	}
}

// spareOut is what DATA leaves of a small buffer for records that need no room.
const spareOut = 64

// fitLocked takes memory for out, so that n bytes of DATA fit, and returns how many
// do: where there is none, as many as in the buffer that out has, or in a small
// one. So a stream that has nothing queued can always queue a little, and its own
// writeOut wakes one that has.
func (s *Stream) fitLocked(n int) int {
	held := max(smallOut, s.outHeld)
	need := len(s.out) + frameHeader + recordHeader + n + spareOut
	if n <= 0 || need <= held {
		return n
	}
	size := mediumOut
	if need > mediumOut {
		size = largeOut
	}
	if s.link.pool.takeAll(size - held) {
		s.outHeld = size
		return n
	}
	return n - (need - held)
}

// releaseOut gives back what fitLocked has taken.
func (s *Stream) releaseOut(held int) {
	if held > 0 {
		s.link.pool.put(held - smallOut)
	}
}

// Room returns how many bytes Write takes now without waiting for the other side.
// With wait it waits until that is more than none, or until Write would not wait for
// another reason. So a caller that reads these bytes from elsewhere need not hold
// them meanwhile.
func (s *Stream) Room(wait bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed || s.cause != nil || s.send != halfOpen || s.writable.timedOut() {
			return maxOut
		}
		space := maxOut - len(s.out) - 2*(frameHeader+recordHeader)
		if space < smallOut || s.link.pool.tight(largeOut) {
			space = max(smallOut, s.outHeld) - spareOut - len(s.out) - 2*(frameHeader+recordHeader)
		}
		if n := min(s.credit, space); n > 0 || !wait {
			return max(0, n)
		}
		s.writable.Wait()
	}
}

// recordLocked appends a record to out: to the frame that is last there, or to
// a new one.
func (s *Stream) recordLocked(t recordType, payload []byte) {
	s.out = growOut(s.out, frameHeader+recordHeader+len(payload))
	if size := len(s.out) - s.frame; size == 0 || size+recordHeader+len(payload) > fullFrame {
		s.frame = len(s.out)
		s.out = append(s.out, byte(recMux), 0, 0, smuxVersion, smuxPSH, 0, 0)
		s.out = binary.LittleEndian.AppendUint32(s.out, s.id)
	}
	s.out = appendRecord(s.out, t, payload)
	f := s.out[s.frame:]
	binary.BigEndian.PutUint16(f[1:], uint16(len(f)-recordHeader))
	binary.LittleEndian.PutUint16(f[recordHeader+2:], uint16(len(f)-frameHeader))
}

// grantLocked queues CREDIT for n more bytes.
func (s *Stream) grantLocked(n int) {
	if n > 0 {
		var p [4]byte
		binary.BigEndian.PutUint32(p[:], uint32(n))
		s.controlLocked(recCredit, p[:])
	}
}

// endLocked queues END, once. The caller sees to it that the link pumps.
func (s *Stream) endLocked() {
	if s.send.ended() {
		return
	}
	if s.send == halfOpen {
		s.send = halfEnded
		s.recordLocked(recEnd, nil)
		s.readyLocked()
	} else {
		s.send = halfMovedEnded
	}
	if s.lane.conn != nil {
		s.lane.conn.CloseWrite()
	}
	s.writable.Broadcast()
}

// controlLocked queues a record that needs neither credit nor room.
func (s *Stream) controlLocked(t recordType, payload []byte) {
	s.recordLocked(t, payload)
	s.kickLocked()
}

// kickLocked sees to it that out is written, soon.
func (s *Stream) kickLocked() {
	if s.readyLocked() {
		go s.link.sender.pumpAside()
	}
}

// readyLocked puts the stream among those that have something to write, and
// reports whether it was not among them. The caller sees to it that the link
// pumps.
func (s *Stream) readyLocked() bool {
	if len(s.out) == 0 || s.inTurn || s.wire != wireOpen {
		return false
	}
	s.inTurn = true
	s.link.sender.push(s)
	return true
}

// writeOut puts what is queued to a link whose writer the caller is, and returns
// how much that was. If the link is over it is dropped. The caller calls written
// when it is on its way.
func (s *Stream) writeOut() int {
	s.mu.Lock()
	b, held := s.out, s.outHeld
	if s.rst == rstQueued {
		s.rst = rstPut
	}
	s.out, s.outHead, s.frame, s.outHeld = nil, 0, 0, 0
	s.writable.Broadcast()
	s.mu.Unlock()
	if !s.link.sender.put(b) {
		s.mu.Lock()
		s.dropOutLocked()
		if s.rst == rstQueued { // meanwhile
			s.rst = rstPut
		}
		s.mu.Unlock()
	}
	putOut(b)
	s.releaseOut(held)
	s.notice()
	return len(b)
}

// written notes that what writeOut has put is written, or never will be.
func (s *Stream) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rst == rstPut {
		s.rst = rstNone
	}
	s.inTurn = false
	s.readyLocked() // the caller looks again
	s.settleLocked()
}

func (s *Stream) dropOutLocked() {
	putOut(s.out)
	s.releaseOut(s.outHeld)
	s.out, s.outHead, s.frame, s.outHeld = nil, 0, 0, 0
}

package framing

import (
	"encoding/binary"
	"net"
	"os"
	"syscall"
)

// begin starts a stream that this side opens: rec is its header, and first
// the first data. It returns the part of first for which there is no credit yet. The
// caller sees to it that the link pumps.
func (s *Stream) begin(rec, first []byte) (rest []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil { // it was reset before it began
		return nil, nil
	}
	s.begins.Store(true)
	s.out.record(s.id, recHeader, rec[recordHeader:])
	s.out.header = len(s.out.frames)
	s.allowLocked(s.in.win.begin())
	n := s.queueLocked(first)
	s.readyLocked()
	if n < min(len(first), InitialCredit) {
		return nil, ErrNoMemory
	}
	return first[n:], nil
}

// Write queues data for the other side, as far as there is credit and room. It
// returns when all is queued, the deadline has passed, or the stream is over.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane.writing++
	defer func() {
		s.lane.writing--
		s.lane.switchLocked()
	}()
	for stalled := false; ; {
		switch {
		case s.closed:
			return n, s.opError("write", net.ErrClosed)
		case s.writable.timedOut():
			return n, s.opError("write", os.ErrDeadlineExceeded)
		case s.cause != nil:
			return n, s.opError("write", s.cause)
		case s.send.ended():
			return n, s.opError("write", syscall.EPIPE)
		case s.send.moved():
			m, err := s.lane.writeLocked(p[n:])
			return n + m, err
		}
		n += s.queueLocked(p[n:])
		if n == len(p) && len(s.out.frames) < atOnce && s.readyLocked() {
			s.unlocked(s.link.sender.pump)
			return n, nil
		}
		s.kickLocked()
		if n == len(p) {
			return n, nil
		}
		stalled = s.stallLocked(stalled)
		s.writable.Wait()
	}
}

// stallLocked counts, once, that a write is about to wait for credit. It returns
// whether that is counted.
func (s *Stream) stallLocked(counted bool) bool {
	if n := s.link.handler.Stalls; n != nil && !counted && s.out.credit == 0 {
		n.Add(1)
		return true
	}
	return counted
}

// Queue queues as much of p as there is credit and room for, and returns how many bytes
// that is. It does not wait. Flush sends them, or anything else that the link sends takes
// them along before. Where the stream is over, or has moved to a lane, Queue takes
// nothing.
func (s *Stream) Queue(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.cause != nil || s.send != halfOpen {
		return 0
	}
	n := s.queueLocked(p)
	s.out.late = s.readyLocked()
	return n
}

// Flush sends what Queue has queued. It does not wait for that.
func (s *Stream) Flush() { s.link.sender.pump() }

// CloseWrite sends END: the other side reads io.EOF after all data.
func (s *Stream) CloseWrite() error {
	defer s.link.sender.pump()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return s.opError("close", net.ErrClosed)
	case s.cause != nil:
		return s.opError("close", s.cause)
	}
	s.endLocked()
	return nil
}

// Room returns how many bytes Write takes now without waiting for the other side.
// With wait it waits until that is more than none, or until Write would not wait for
// another reason. So a caller that reads these bytes from elsewhere need not hold
// them meanwhile.
func (s *Stream) Room(wait bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stalled := false; ; {
		if s.closed || s.cause != nil || s.send != halfOpen || s.writable.timedOut() {
			return maxOut
		}
		if n := s.out.room(); n > 0 || !wait {
			return max(0, n)
		}
		stalled = s.stallLocked(stalled)
		s.writable.Wait()
	}
}

// queueLocked queues as much of p as there is credit and room for, and returns how
// much that was.
func (s *Stream) queueLocked(p []byte) int {
	n := s.out.data(s.id, p)
	if n > 0 {
		s.link.handler.Traffic.carried(streamOut, n)
		s.notices.sent()
		s.lendLocked()
	}
	return n
}

// credited is CREDIT from the other side.
func (s *Stream) credited(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.writable.Broadcast()
	err := s.out.credited(n)
	if s.link.returns.agreed && s.out.credit > InitialCredit {
		s.link.returns.watch()
	}
	return err
}

// lendLocked queues CREDIT along with data, for the answer to that data, where the other
// side has given back what it had.
func (s *Stream) lendLocked() {
	if s.recv != halfOpen || s.closed || s.cause != nil {
		return
	}
	if n := s.in.win.lent(); n > 0 {
		s.out.record(s.id, recCredit, binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
}

// grantLocked queues CREDIT for n more bytes, and sees to it that the link pumps.
func (s *Stream) grantLocked(n int) {
	if s.allowLocked(n) {
		s.kickLocked()
	}
}

// allowLocked queues CREDIT for n more bytes, and reports whether n is above 0. The
// caller sees to it that the link pumps.
func (s *Stream) allowLocked(n int) bool {
	if n > 0 {
		var p [4]byte
		binary.BigEndian.PutUint32(p[:], uint32(n))
		s.out.record(s.id, recCredit, p[:])
	}
	return n > 0
}

// endLocked queues END, once. The caller sees to it that the link pumps.
func (s *Stream) endLocked() {
	if s.send.ended() {
		return
	}
	if s.send == halfOpen {
		s.send = halfEnded
		s.out.record(s.id, recEnd, nil)
		s.readyLocked()
	} else {
		s.send = halfMovedEnded
	}
	if s.lane.conn != nil {
		s.lane.fromLocked(true)
		s.lane.conn.CloseWrite()
	}
	s.writable.Broadcast()
}

// controlLocked queues a record that needs neither credit nor room.
func (s *Stream) controlLocked(t recordType, payload []byte) {
	s.out.record(s.id, t, payload)
	s.kickLocked()
}

// kickLocked sees to it that out is written, soon.
func (s *Stream) kickLocked() {
	if s.readyLocked() {
		go s.link.sender.pumpAside()
	}
}

// readyLocked puts the stream among those that have something to write, and
// reports whether the caller has to see to it that the link pumps.
func (s *Stream) readyLocked() bool {
	if len(s.out.frames) == 0 || s.wire != wireOpen {
		return false
	}
	if s.out.ready {
		late := s.out.late
		s.out.late = false
		return late
	}
	s.out.ready = true
	s.link.sender.push(s)
	return true
}

// writeOut puts what is queued to a link whose writer the caller is, and returns
// how much that was. If the link is over it is dropped. The caller calls written
// when it is on its way.
func (s *Stream) writeOut() int {
	s.mu.Lock()
	frames, taken := s.out.take()
	s.writable.Broadcast()
	s.mu.Unlock()
	if !s.link.sender.put(frames) {
		s.mu.Lock()
		s.out.drop() // what was queued meanwhile
		s.mu.Unlock()
	}
	s.out.free(frames, taken)
	s.notice()
	return len(frames)
}

// written notes that what writeOut has put is written, or never will be.
func (s *Stream) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.rst == rstPut {
		s.out.rst = rstNone
	}
	s.out.ready = false
	s.readyLocked() // the caller looks again
	s.settleLocked()
}

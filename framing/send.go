package framing

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/xtaci/smux"
)

const (
	// dataChunk is the payload of the DATA records that this side sends: with
	// its header one fills a smux frame, and so a TLS record.
	dataChunk = smuxFrame - recordHeader
	// maxOut is how much data may be queued on a stream while more is written.
	maxOut = 2 * smuxFrame
)

// outBuffers holds the buffers of Stream.out.
var outBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, maxOut+maxSmall+recordHeader)
	return &b
}}

func outBuffer() []byte { return (*outBuffers.Get().(*[]byte))[:0] }

func putOutBuffer(b []byte) { outBuffers.Put(&b) }

// queueLocked appends as much of p to out, as DATA, as credit and room allow,
// and returns how much that was.
func (s *Stream) queueLocked(p []byte) int {
	total := 0
	for {
		room := maxOut - len(s.out) - recordHeader
		n := min(len(p), dataChunk, s.credit, room)
		if n <= 0 {
			return total
		}
		if s.out == nil {
			s.out = outBuffer()
		}
		s.out = appendRecord(s.out, recData, p[:n])
		s.credit -= n
		s.sent += int64(n)
		total += n
		p = p[n:]
	}
}

// grantLocked queues CREDIT for n more bytes.
func (s *Stream) grantLocked(n int) {
	if n > 0 {
		var p [4]byte
		binary.BigEndian.PutUint32(p[:], uint32(n))
		s.controlLocked(recCredit, p[:])
	}
}

// endLocked queues END, once.
func (s *Stream) endLocked() {
	if s.sendEnd {
		return
	}
	s.sendEnd = true
	if !s.sendMoved {
		s.controlLocked(recEnd, nil)
	}
	if s.lane != nil {
		s.lane.CloseWrite()
	}
	s.writable.Broadcast()
}

// controlLocked queues a record that needs neither credit nor room.
func (s *Stream) controlLocked(t recordType, payload []byte) {
	if s.out == nil {
		s.out = outBuffer()
	}
	s.out = appendRecord(s.out, t, payload)
	s.kickLocked()
}

// kickLocked sees to it that out is written. The goroutine for it lives only
// as long as there is something to write.
func (s *Stream) kickLocked() {
	if len(s.out) > 0 && !s.flushing && !s.smClosed {
		s.flushing = true
		go s.flush()
	}
}

func (s *Stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) > 0 && !s.smClosed {
		b, reset := s.out, s.resetOut
		s.out, s.outHead = nil, 0
		s.writable.Broadcast()
		s.mu.Unlock()
		_, err := s.sm.Write(b)
		s.noticeBulk()
		if errors.Is(err, smux.ErrConsumed) {
			s.link.fail(asProtocol(err))
		}
		s.mu.Lock()
		if err != nil {
			// drain learns the reason. The buffer is not used again: smux may
			// still hold it.
			s.dropOutLocked()
			s.resetOut = false
			break
		}
		putOutBuffer(b)
		if reset {
			s.resetOut = false
		}
	}
	s.flushing = false
	s.settleLocked()
}

func (s *Stream) dropOutLocked() {
	if s.out != nil {
		putOutBuffer(s.out)
	}
	s.out, s.outHead = nil, 0
}

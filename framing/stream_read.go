package framing

import (
	"io"
	"net"
	"os"
)

// An incoming is what has come on a stream and is not read yet, and the window for
// more. It is guarded by the stream's lock.
type incoming struct {
	win    window
	buf    chunks
	popped bool      // WriteTo is writing a chunk
	got    int64     // bytes of DATA that came
	now    nowWriter // of a WriteTo that waits for data, or nil
	wrote  int64     // bytes that writeNow has written to it
	once   bool      // data of what is fed was written by writeNow; used by the link's reader alone
}

// A nowWriter writes what can be written without waiting, and returns how much
// that was. After an error a Write fails too.
type nowWriter interface{ WriteNow(p []byte) (int, error) }

// maxNow is up to how many bytes the link's reader writes itself. For a small
// piece it would cost more to wake the goroutine that waits in WriteTo; of more
// that one makes fewer, larger pieces, while the reader reads on.
const maxNow = 4 << 10

// came accounts n bytes of DATA.
func (in *incoming) came(n int) error {
	if !in.win.received(n) {
		return protocolErrorf("data beyond the credit")
	}
	in.got += int64(n)
	return nil
}

// writeNow writes p to where a WriteTo waits for it, as far as it can, and returns
// how much that was.
func (in *incoming) writeNow(p []byte) int {
	if in.now == nil || in.buf.len > 0 || len(p) > maxNow || in.once {
		return 0
	}
	in.once = true
	n, _ := in.now.WriteNow(p)
	in.wrote += int64(n)
	return n
}

// await waits on readable, for a WriteTo that writes to now, and returns how much
// writeNow has written meanwhile.
func (in *incoming) await(readable *condition, now nowWriter) int64 {
	in.now = now
	readable.Wait()
	in.now = nil
	n := in.wrote
	in.wrote = 0
	return n
}

// ended accounts that nothing more comes: only what is buffered counts.
func (in *incoming) ended() { in.win.ended(in.buf.len) }

// isEmpty reports whether all that has come is read.
func (in *incoming) isEmpty() bool { return in.buf.len == 0 }

// drop throws away what is buffered.
func (in *incoming) drop() { in.buf.free() }

// release gives back all that the stream holds of its link's memory for what comes.
func (in *incoming) release() {
	in.buf.free()
	in.win.release(0)
}

// receive parses what has arrived for the stream.
func (s *Stream) receive(p []byte) error {
	r := &s.parse
	if r.phase == phaseCut {
		return nil
	}
	r.arrived += uint32(len(p))
	if step := r.arrived - r.updated; step >= updateStep || r.updated == 0 && step >= firstUpdate {
		r.updated = r.arrived
		s.link.sender.update(s.id, r.arrived)
	}
	s.in.once = false
	if err := r.feed(s, p); err != nil {
		return err
	}
	s.notice()
	return nil
}

// cutOff is the end of the stream's smux side.
func (s *Stream) cutOff() {
	if s.parse.phase == phaseCut {
		return
	}
	s.parse.phase = phaseCut
	s.mu.Lock()
	ended := s.endedLocked() // then written is about to find that out
	s.mu.Unlock()
	if !ended {
		s.lost()
	}
}

// lost ends a stream because of its link, or of its smux side.
func (s *Stream) lost() {
	if !s.lane.outlives() {
		s.fail(s.link.cause(errCut))
	}
	if !s.link.isRelay && s.begins.CompareAndSwap(false, true) {
		s.link.streams.arrived()
	}
}

// begun makes the stream ready for Accept.
func (s *Stream) begun(h Header) error {
	s.mu.Lock()
	s.header = h
	s.local, s.remote = tcpAddr(h.Dest), tcpAddr(h.Source)
	s.mu.Unlock()
	if s.begins.CompareAndSwap(false, true) {
		defer s.link.streams.arrived()
	}
	if !s.link.streams.offer(s) {
		s.Refuse()
	}
	return nil
}

// data keeps a part of a DATA record's payload until it is read.
func (s *Stream) data(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed {
		s.lane.excessLocked() // the visitor's node is to blame, and not this link
		return nil
	}
	if err := s.in.came(len(p)); err != nil {
		return err
	}
	s.link.handler.Traffic.carried(streamIn, len(p))
	s.notices.came()
	defer s.lane.reachedLocked()
	if s.closed || s.cause != nil {
		return nil // thrown away; the other side learns from RESET
	}
	n := s.in.writeNow(p)
	if n > 0 {
		s.consumedLocked(n)
	}
	if n < len(p) {
		s.in.buf.append(p[n:])
		s.readable.Broadcast()
	}
	return nil
}

func (s *Stream) lanes() bool { return s.link.lanes.agreed }

func (s *Stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane.endsLocked()
	if s.owed { // what ends is the hop, and not the visitor
		s.owed = false
	} else {
		s.recv = halfEnded
		s.in.ended()
	}
	s.readable.Broadcast()
	s.settleLocked()
}

// consumedLocked accounts data that was read, and gives new credit for it. The
// stream may be over by then, since WriteTo writes without the lock: it takes
// nothing from the pool any more.
func (s *Stream) consumedLocked(n int) {
	if s.closed || s.cause != nil {
		return
	}
	if s.recv != halfOpen {
		s.in.ended()
		s.settleLocked()
		return
	}
	s.grantLocked(s.in.win.consumed(n))
}

// Read reads data of the stream. It returns io.EOF only after END.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, s.opError("read", net.ErrClosed)
		case s.readable.timedOut():
			return 0, s.opError("read", os.ErrDeadlineExceeded)
		case s.cause != nil:
			return 0, s.opError("read", s.cause)
		case !s.in.isEmpty():
			n := s.in.buf.read(p)
			s.consumedLocked(n)
			return n, nil
		case s.recv.ended():
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case s.recv.moved() && s.lane.conn != nil:
			return s.lane.readLocked(p)
		}
		s.readable.Wait()
	}
}

// WriteTo writes the stream's data to w up to its end, straight from the
// buffers it arrived in. Credit for data is given back once w has taken it.
//
// Where w has a method WriteNow(p []byte) (n int, err error), which writes what
// it can without waiting, small pieces go there from the goroutine that reads
// the link, never at the same time as a Write. WriteNow must not call a method
// of the stream.
//
// It returns nil too when the rest of the data comes on another TCP connection:
// then [Stream.Carrier] says on which.
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, _ := w.(nowWriter)
	for {
		switch {
		case s.closed:
			return total, s.opError("read", net.ErrClosed)
		case s.readable.timedOut():
			return total, s.opError("read", os.ErrDeadlineExceeded)
		case s.cause != nil:
			return total, s.opError("read", s.cause)
		case !s.in.isEmpty():
			c := s.in.buf.pop()
			s.in.popped = true
			size := c.end - c.start
			var n int
			s.unlocked(func() {
				n, err = w.Write(c.data[c.start:c.end])
				c.free()
			})
			s.in.popped = false
			total += int64(n)
			if err == nil {
				s.consumedLocked(size)
			}
			if s.closed || s.cause != nil {
				s.settleLocked() // it may have waited for this
			}
			if err != nil {
				return total, err
			}
			continue
		case s.recv.ended():
			return total, nil
		case s.recv.moved() && s.lane.conn != nil:
			if _, ok := s.lane.conn.(*net.TCPConn); ok {
				return total, nil
			}
			var n int64
			s.unlocked(func() { n, err = s.lane.writeTo(w) })
			return total + n, err
		}
		total += s.in.await(&s.readable, now)
	}
}

package framing

import (
	"encoding/binary"
	"io"
	"net"
	"os"
)

// A parser splits a stream's bytes into records, however they are cut.
type parser struct {
	phase phase
	wrote bool // data of what is fed was written by WriteNow: once is enough

	arrived, updated uint32 // bytes in all, and what of them UPD has told

	head    [recordHeader]byte
	nhead   int
	typ     recordType
	left    int    // bytes of the payload that are still to come
	payload []byte // of a record that is not DATA
}

// A phase is how far a stream's records have come. It only grows. The side that
// opens a stream begins in phaseData, since no HEADER comes to it.
type phase uint8

const (
	phaseHeader phase = iota // HEADER is to come
	phaseData                // anything but HEADER may come
	phaseEnded               // END or SWITCH has come: no more DATA, END or SWITCH
	phaseReset               // RESET has come: nothing may follow
	phaseCut                 // smux's FIN has come: nothing can follow
)

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
		go s.link.sender.pumpAside()
	}
	r.wrote = false
	if err := r.feed(s, p); err != nil {
		return err
	}
	s.notice()
	return nil
}

// feed parses p and hands each record to the sink.
func (r *parser) feed(s sink, p []byte) error {
	for len(p) > 0 {
		if r.nhead < recordHeader {
			n := copy(r.head[r.nhead:], p)
			r.nhead += n
			p = p[n:]
			if r.nhead < recordHeader {
				return nil
			}
			r.typ, r.left = parseRecordHeader(r.head[:])
			if err := r.check(s); err != nil {
				return err
			}
		}
		n := min(r.left, len(p))
		if r.typ == recData {
			if err := s.data(p[:n]); err != nil {
				return err
			}
		} else {
			r.payload = append(r.payload, p[:n]...)
		}
		p = p[n:]
		if r.left -= n; r.left > 0 {
			return nil
		}
		r.nhead = 0
		payload := r.payload
		r.payload = nil
		if err := r.record(s, payload); err != nil {
			return err
		}
	}
	return nil
}

// check decides from a record's header whether it may come now.
func (r *parser) check(s sink) error {
	if r.phase == phaseReset {
		return protocolErrorf("stream record 0x%02x after RESET", r.typ)
	}
	limit := maxSmall
	switch r.typ {
	case recHeader:
		limit = maxHeader
		if r.phase != phaseHeader {
			return protocolErrorf("HEADER in the wrong place")
		}
	case recData:
		limit = maxData
		if r.left == 0 {
			return protocolErrorf("empty DATA")
		}
		if r.phase >= phaseEnded {
			return protocolErrorf("DATA after END or SWITCH")
		}
	case recEnd:
		limit = 0
		if r.phase >= phaseEnded {
			return protocolErrorf("END twice or after SWITCH")
		}
	case recSwitch:
		if !s.lanes() {
			return protocolErrorf("SWITCH where no lanes were agreed on")
		}
		if r.phase >= phaseEnded {
			return protocolErrorf("SWITCH twice or after END")
		}
	case recReset, recCredit:
	default:
		limit = maxControl
		if r.typ < optional {
			return protocolErrorf("unknown stream record 0x%02x", r.typ)
		}
	}
	if r.phase == phaseHeader && r.typ != recHeader {
		return protocolErrorf("stream record 0x%02x before HEADER", r.typ)
	}
	if r.left > limit {
		return protocolErrorf("stream record 0x%02x of %d bytes", r.typ, r.left)
	}
	return nil
}

// record hands on a record that is whole.
func (r *parser) record(s sink, payload []byte) error {
	switch r.typ {
	case recHeader:
		h, err := parseHeader(payload)
		if err != nil {
			return err
		}
		r.phase = phaseData
		return s.begun(h)
	case recEnd:
		r.phase = phaseEnded
		s.end()
	case recSwitch:
		if len(payload) < 8 {
			return protocolErrorf("short SWITCH")
		}
		r.phase = phaseEnded
		return s.switched(binary.BigEndian.Uint64(payload))
	case recReset:
		if len(payload) < 2 {
			return protocolErrorf("short RESET")
		}
		r.phase = phaseReset
		s.fail(&ResetError{ResetCode(binary.BigEndian.Uint16(payload))})
	case recCredit:
		if len(payload) < 4 {
			return protocolErrorf("short CREDIT")
		}
		return s.credited(binary.BigEndian.Uint32(payload))
	}
	return nil
}

// A sink is what a parser feeds: a Stream, or a test's record of it.
type sink interface {
	begun(Header) error
	data([]byte) error
	end()
	fail(error)
	credited(uint32) error
	lanes() bool // SWITCH may come at all
	switched(offset uint64) error
}

// cutOff is the end of the stream's smux side.
func (s *Stream) cutOff() {
	if s.parse.phase == phaseCut {
		return
	}
	s.parse.phase = phaseCut
	if !s.ended() { // else written is about to find that out
		s.lost()
	}
}

// lost ends a stream because of its link, or of its smux side.
func (s *Stream) lost() {
	s.fail(s.link.cause(errCut))
	if !s.link.isRelay && s.begins.CompareAndSwap(false, true) {
		s.link.streams.arrived()
	}
}

// begun makes the stream ready for Accept.
func (s *Stream) begun(h Header) error {
	s.header = h
	s.local, s.remote = tcpAddr(h.Dest), tcpAddr(h.Source)
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
	if !s.win.received(len(p)) {
		return protocolErrorf("data beyond the credit")
	}
	s.got += int64(len(p))
	if s.notices.spoke {
		s.notices.spoke = false
		s.notices.exchanges++
	}
	if s.closed || s.cause != nil {
		return nil // thrown away; the other side learns from RESET
	}
	if n := s.writeNowLocked(p); n < len(p) {
		s.buf.append(p[n:])
		s.readable.Broadcast()
	}
	return nil
}

// A nowWriter writes what can be written without waiting, and returns how much
// that was. After an error a Write fails too.
type nowWriter interface{ WriteNow(p []byte) (int, error) }

// maxNow is up to how many bytes the link's reader writes itself. For a small
// piece it would cost more to wake the goroutine that waits in WriteTo; of more
// that one makes fewer, larger pieces, while the reader reads on.
const maxNow = 4 << 10

// writeNowLocked writes p to where a WriteTo waits for it, as far as it can.
func (s *Stream) writeNowLocked(p []byte) int {
	if s.now == nil || s.buf.len > 0 || len(p) > maxNow || s.parse.wrote {
		return 0
	}
	s.parse.wrote = true
	n, _ := s.now.WriteNow(p)
	s.nowTotal += int64(n)
	s.consumedLocked(n)
	return n
}

func (s *Stream) lanes() bool { return s.link.lanes.agreed }

func (s *Stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recv = halfEnded
	s.win.ended(s.buf.len)
	s.readable.Broadcast()
	s.settleLocked()
}

func (s *Stream) credited(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable.Broadcast()
	return s.out.credited(n)
}

// consumedLocked accounts data that was read, and gives new credit for it. The
// stream may be over by then, since WriteTo writes without the lock: it takes
// nothing from the pool any more.
func (s *Stream) consumedLocked(n int) {
	if s.closed || s.cause != nil {
		return
	}
	if s.recv != halfOpen {
		s.win.ended(s.buf.len)
		s.settleLocked()
		return
	}
	s.grantLocked(s.win.consumed(n))
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
		case s.buf.len > 0:
			c := s.buf.pop()
			s.popped = true
			size := c.end - c.start
			var n int
			s.unlocked(func() {
				n, err = w.Write(c.data[c.start:c.end])
				c.free()
			})
			s.popped = false
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
			s.unlocked(func() { n, err = s.writeLaneTo(w) })
			return total + n, err
		}
		s.now = now
		s.readable.Wait()
		s.now = nil
		total += s.nowTotal
		s.nowTotal = 0
	}
}

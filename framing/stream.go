package framing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/duplex"
)

// CloseLinger is how long a closed stream waits for the other side's END
// before it is reset.
const CloseLinger = 10 * time.Second

// errCut is the error of a stream whose smux side ended without END or RESET.
var errCut = fmt.Errorf("stream was cut off: %w", io.ErrUnexpectedEOF)

// A Stream is one end of a visitor's connection inside a link: a net.Conn with
// the ends and resets of TCP.
//
// CloseWrite sends an end, Reset cuts both directions. Close sends an end too,
// or a reset when data that has arrived was never read; what still arrives
// afterwards is thrown away for CloseLinger, then the stream is reset. A stream
// whose link is lost fails: it never ends in good order.
type Stream struct {
	link          *Link
	id            uint32 // as smux counts
	header        Header
	local, remote net.Addr
	parse         parser      // used by the link's reader alone
	begins        atomic.Bool // HEADER has come or gone, or never will

	mu sync.Mutex
	state
	tag      any // see SetTag
	readable condition
	in       incoming
	writable condition
	out      outgoing
	linger   *time.Timer
	lane     move
	notices  notices
}

func newStream(l *Link) *Stream {
	s := &Stream{link: l}
	s.in.win = newWindow(&l.pool)
	s.out.pool, s.out.credit = &l.pool, InitialCredit
	s.lane.stream = s
	if l.isRelay { // no HEADER comes to the side that opens
		s.parse.phase = phaseData
	}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

// Broken returns nil while the stream works or has ended in good order, and why it
// broke if it was reset or its link was lost.
func (s *Stream) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.conn != nil && s.cause == nil && !s.closed {
		return duplex.Broken(s.lane.conn)
	}
	return s.cause
}

// Link is the link that the stream was opened on. It may be lost.
func (s *Stream) Link() *Link { return s.link }

// Header is what the opener said about the stream; the zero value before that has come.
func (s *Stream) Header() Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header
}

// SetTag keeps a value with the stream, such as what serves it, for Tag to return. The
// other side does not see it.
func (s *Stream) SetTag(tag any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tag = tag
}

// Tag returns what SetTag has kept, or nil.
func (s *Stream) Tag() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tag
}

// LocalAddr is the relay's address that the visitor came to; at the relay, the
// link's own.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr is the visitor's address; at the relay, the remote's.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// unlocked runs f, which may wait or panic, without the lock.
func (s *Stream) unlocked(f func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	f()
}

// Close closes the stream, see [Stream]. It does not wait for anything.
func (s *Stream) Close() error {
	ends, err := s.close()
	if ends { // else nothing may have been queued but FIN, which can wait
		s.link.sender.pump()
	}
	return err
}

// close is Close. It reports whether END was queued: then the link is to pump.
func (s *Stream) close() (ends bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, s.opError("close", net.ErrClosed)
	}
	if !s.in.isEmpty() && s.cause == nil {
		s.resetLocked(ResetCancel)
		return false, nil
	}
	s.closed = true
	ends = s.cause == nil && !s.send.ended()
	if s.cause == nil {
		s.endLocked()
		if s.wire == wireOpen && !s.recv.moved() {
			s.linger = time.AfterFunc(CloseLinger, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.resetLocked(ResetClosed)
			})
		}
	}
	s.wakeLocked()
	s.settleLocked()
	return ends, nil
}

// Reset cuts the stream: the other side's reads and writes fail with a
// *ResetError, and what it has not read yet is lost to it.
func (s *Stream) Reset() error { return s.reset(ResetCancel) }

// Refuse resets a stream that this side does not take.
func (s *Stream) Refuse() error { return s.reset(ResetRefused) }

func (s *Stream) reset(code ResetCode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetLocked(code)
	return nil
}

func (s *Stream) resetLocked(code ResetCode) {
	s.lane.judgeLocked()
	s.closed = true
	s.cutLocked(code)
	if s.cause == nil {
		s.cause = net.ErrClosed
	}
	s.wakeLocked()
	s.settleLocked()
}

// cutLocked tells the other side, on whatever carries the stream, that it is
// over.
func (s *Stream) cutLocked(code ResetCode) {
	if s.cause == nil && s.wire == wireOpen {
		s.out.reset(s.id, code)
		s.kickLocked()
	}
	s.lane.dropLocked()
	s.in.drop()
}

// breakLocked ends the stream, to the other side by a reset, because what
// carries it has failed.
func (s *Stream) breakLocked(err error) {
	s.cutLocked(ResetCancel)
	if s.cause == nil {
		s.cause = err
	}
	s.wakeLocked()
	s.settleLocked()
}

// fail ends the stream for a reason from outside: RESET or the link's loss.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && s.wire == wireOpen {
		s.cause = err
		s.out.drop()
		s.lane.dropLocked()
		s.in.drop()
	}
	s.wakeLocked()
	s.settleLocked()
}

func (s *Stream) wakeLocked() {
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// settleLocked closes the smux side when both directions are over, and takes
// the stream off the link when nothing of it is left here and on the wire: a peer
// that opens and ends streams without reading must not make this side hold more of
// them than MaxStreams.
func (s *Stream) settleLocked() {
	over := s.endedLocked() && len(s.out.frames) == 0 && !s.out.ready
	if s.cause != nil {
		over = s.out.rst == rstNone // RESET goes out first
	}
	if over && s.wire == wireOpen {
		s.wire = wireEnding
		if s.linger != nil {
			s.linger.Stop()
		}
		if !s.lane.livesLocked() {
			s.readable.stop()
			s.writable.stop()
		}
		if s.link.sender.tryFIN(s.id) {
			s.wire = wireEnded
			s.link.streams.forget(s)
		} else {
			go s.closeMux()
		}
	}
	s.lane.endLocked()
	if s.wire == wireEnded && (s.in.isEmpty() || s.closed) && !s.in.popped && !s.lane.livesLocked() {
		s.wire = wireRemoved
		s.in.release()
		s.link.streams.remove(s, StreamMemory+s.lane.memory())
	}
}

// closeMux closes the smux side where FIN has to wait for the link.
func (s *Stream) closeMux() {
	defer s.link.handler.Panics.Catch("ending a stream", s.link.panicked)
	s.link.sender.fin(s.id)
	s.link.streams.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = wireEnded
	s.settleLocked()
}

// over reports whether nothing of the stream is left to move.
func (s *Stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked()
}

func (s *Stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "keystay", Source: s.local, Addr: s.remote, Err: err}
}

// SetDeadline sets both deadlines. They end only the waiting of Read and Write.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of Read.
func (s *Stream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readable, t)
}

// SetWriteDeadline sets the deadline of Write. Data that Write has counted is
// sent whatever the deadline.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writable, t)
}

func (s *Stream) setDeadline(c *condition, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	if s.lane.conn != nil {
		if c == &s.readable {
			s.lane.conn.SetReadDeadline(t)
		} else {
			s.lane.conn.SetWriteDeadline(t)
		}
	}
	c.setDeadline(t)
	return nil
}

var _ interface {
	net.Conn
	io.WriterTo
	CloseWrite() error
	Reset() error
} = (*Stream)(nil)

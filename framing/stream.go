package framing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keystay/internal/duplex"
)

// CloseLinger is how long a closed stream waits for the other side's END
// before it is reset.
const CloseLinger = 10 * time.Second

// A ResetCode says why a stream was reset.
type ResetCode uint16

// The reasons of a reset.
const (
	ResetCancel  ResetCode = 0 // the connection behind the stream broke
	ResetRefused ResetCode = 1 // the remote does not take the stream
	ResetClosed  ResetCode = 2 // data arrived for a closed stream
)

// A ResetError is the error of a stream that the other side reset. It is a
// syscall.ECONNRESET to errors.Is.
type ResetError struct{ Code ResetCode }

func (e *ResetError) Error() string {
	return fmt.Sprintf("stream reset by the other side (code %d)", e.Code)
}

// Is makes a ResetError equal to the error of a reset TCP connection.
func (e *ResetError) Is(target error) bool { return target == syscall.ECONNRESET }

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
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

// begin starts a stream that this side opens: rec is its header, and first
// the first data. It returns the part of first for which there is no credit yet.
func (s *Stream) begin(rec, first []byte) (rest []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil { // it was reset before it began
		return nil, nil
	}
	s.begins.Store(true)
	s.out.record(s.id, recHeader, rec[recordHeader:])
	s.out.header = len(s.out.frames)
	s.grantLocked(s.in.win.begin())
	n := s.queueLocked(first)
	s.kickLocked()
	if n < min(len(first), InitialCredit) {
		return nil, ErrNoMemory
	}
	return first[n:], nil
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

// Header is what the opener said about the stream.
func (s *Stream) Header() Header { return s.header }

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
	defer s.link.sender.pump()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.opError("close", net.ErrClosed)
	}
	if s.in.buf.len > 0 && s.cause == nil {
		s.resetLocked(ResetCancel)
		return nil
	}
	s.closed = true
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
	return nil
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

package framing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// A laneState is how far a stream has come on its way to a lane.
type laneState uint8

const (
	laneNone  laneState = iota
	laneAwait           // BIND or BOUND is on its way: SWITCH may come
	laneBound           // the lane carries what has moved
	laneGone            // it was lost before, or the stream is to stay: there will be no other
)

// A move is how far a stream has come on its way to a lane, and what it has there,
// see section 8 of PROTOCOL.md. Each direction is on the stream until it has ended or
// moved. It is guarded by the stream's lock.
type move struct {
	stream   *Stream
	state    laneState
	reserved bool          // LaneMemory is, until the stream is taken off the link
	conn     duplex.Conn   // the bare connection; set in laneBound
	away     *away         // where it is to another node; set in laneBound
	writing  int           // Writes under way
	in, out  bool          // bytes have come, and gone, on the lane
	err      error         // why the lane failed
	over     chan struct{} // closed when the lane is closed; from laneAwait on
}

// notice tells the remote of a stream that should perhaps move.
func (s *Stream) notice() {
	h := &s.link.handler
	if !s.link.lanes.agreed || h.Bulk == nil && h.Chatty == nil {
		return
	}
	var bulk, chatty bool
	s.mu.Lock()
	if s.lane.state == laneNone && s.cause == nil && !s.closed {
		bulk, chatty = s.notices.due(h, max(s.out.sent, s.in.got))
	}
	s.mu.Unlock()
	if bulk {
		h.Bulk(s)
	}
	if chatty {
		h.Chatty(s)
	}
}

// expect makes the stream ready for a lane, one and no other. It reports false when
// it is over, about to be, or had one.
func (m *move) expect() bool {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.state != laneNone || !s.begins.Load() || s.overLocked() || !s.link.lanes.moving() {
		return false
	}
	m.state = laneAwait
	m.over = make(chan struct{})
	return true
}

// reserve takes memory for a lane, until the stream is taken off the link.
func (m *move) reserve() bool {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == wireRemoved || !s.link.pool.reserve(LaneMemory) {
		return false
	}
	m.reserved = true
	return true
}

// memory is how much of the link's is reserved for a lane, in bytes.
func (m *move) memory() int {
	if m.reserved {
		return LaneMemory
	}
	return 0
}

// lost notes that the lane was lost before it was bound here. If the other side has
// moved already the stream cannot go on.
func (m *move) lost() {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	m.state = laneGone
	close(m.over)
	if s.recv.moved() {
		s.breakLocked(errLaneLost)
	}
}

// errLaneLost is the error of a stream that was moving to a lane which is lost.
var errLaneLost = fmt.Errorf("the stream's lane was lost: %w", io.ErrUnexpectedEOF)

// attach gives the stream its lane, which it owns from then on, and moves the
// directions that can.
func (m *move) attach(c duplex.Conn) {
	prepareLane(c)
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	m.state = laneBound
	m.conn = c
	if s.cause != nil {
		m.dropLocked()
		return
	}
	if s.send.ended() && s.recv.ended() { // both on the stream: nothing is left to move
		m.leaveLocked()
		m.state, m.conn = laneGone, nil
		return
	}
	c.SetReadDeadline(s.readable.deadline)
	c.SetWriteDeadline(s.writable.deadline)
	if s.send.ended() {
		c.CloseWrite()
	}
	m.switchLocked()
	s.wakeLocked()
	s.settleLocked()
}

// switchLocked sends SWITCH if what goes can move now: between two Writes.
func (m *move) switchLocked() {
	s := m.stream
	if m.conn == nil || s.send != halfOpen || s.cause != nil || m.writing > 0 {
		return
	}
	s.send = halfMoved
	if m.away != nil {
		m.fromLocked(false)
		s.controlLocked(recEnd, nil)
		return
	}
	s.controlLocked(recSwitch, binary.BigEndian.AppendUint64(nil, uint64(s.out.sent)))
}

// switched is SWITCH from the other side.
func (s *Stream) switched(offset uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.state == laneNone || s.lane.away != nil {
		return protocolErrorf("SWITCH without a lane")
	}
	if offset != uint64(s.in.got) {
		return protocolErrorf("SWITCH at %d after %d bytes", offset, s.in.got)
	}
	s.recv = halfMoved
	s.in.ended()
	if s.lane.state == laneGone {
		s.breakLocked(errLaneLost)
		return nil
	}
	s.readable.Broadcast()
	s.settleLocked()
	return nil
}

// writeLocked writes p to the lane.
func (m *move) writeLocked(p []byte) (n int, err error) {
	c := m.conn
	m.stream.unlocked(func() { n, err = c.Write(p) })
	m.out = m.out || n > 0
	m.stream.link.handler.Traffic.carried(laneOut, n)
	if err != nil {
		err = m.failedLocked("write", err)
	}
	return n, err
}

// readLocked reads from the lane.
func (m *move) readLocked(p []byte) (n int, err error) {
	c := m.conn
	m.stream.unlocked(func() { n, err = c.Read(p) })
	m.in = m.in || n > 0
	m.stream.link.handler.Traffic.carried(laneIn, n)
	if err == io.EOF && m.cutShortLocked(c) {
		err = syscall.ECONNRESET
	}
	if err != nil && err != io.EOF {
		err = m.failedLocked("read", err)
	}
	return n, err
}

// cutShortLocked reports whether the end of stream that a read of the lane has
// found is a reset: the system tells a reset once, and when a write has been told, a
// read sees an end of stream. If this side has sent its end, its last write
// succeeded, so no write can have been told.
func (m *move) cutShortLocked(c duplex.Conn) bool {
	s := m.stream
	return s.closed || s.cause != nil || !s.send.ended() && !duplex.Alive(c)
}

// writeTo writes to w what the lane brings, up to its end.
func (m *move) writeTo(w io.Writer) (int64, error) {
	return io.Copy(w, readerFunc(func(p []byte) (int, error) {
		m.stream.mu.Lock()
		defer m.stream.mu.Unlock()
		return m.readLocked(p)
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// failedLocked returns err as the error of the stream. Where this side has not
// caused it, the lane has failed, and the stream fails with it.
func (m *move) failedLocked(op string, err error) error {
	s := m.stream
	switch {
	case s.closed:
		err = net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrDeadlineExceeded
	case s.cause != nil:
		err = s.cause
	case s.send.ended() && op == "write": // by CloseWrite, meanwhile
		err = syscall.EPIPE
	default:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without addresses
		}
		m.err = err
		s.breakLocked(err)
	}
	return s.opError(op, err)
}

// dropLocked cuts the lane.
func (m *move) dropLocked() {
	if m.conn != nil {
		m.closeLocked(func(c duplex.Conn) { socket.Abort(c) })
	}
}

// endLocked closes the lane in good order once this side has closed the stream
// and the other side has ended or moved. What still comes on the lane after that is
// refused by the system, with a reset.
func (m *move) endLocked() {
	if s := m.stream; m.conn != nil && s.closed && s.cause == nil && s.recv != halfOpen {
		m.leaveLocked()
	}
}

func (m *move) leaveLocked() {
	m.closeLocked(func(c duplex.Conn) {
		socket.Linger(c, -1)
		c.Close()
	})
}

func (m *move) closeLocked(how func(duplex.Conn)) {
	select {
	case <-m.over:
	default:
		close(m.over)
		how(m.conn)
		m.stream.readable.stop()
		m.stream.writable.stop()
	}
}

// outcome returns whether bytes went both ways on the lane, and why it failed if it
// did.
func (m *move) outcome() (worked bool, err error) {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	return m.in && m.out, m.err
}

// livesLocked reports whether the stream lives on a lane, or is about to: SWITCH has
// come before BOUND.
func (m *move) livesLocked() bool {
	s := m.stream
	on := m.conn != nil || m.state == laneAwait && s.recv.moved()
	return on && s.cause == nil && !s.closed
}

// judgeLocked is called when this side is about to reset the stream. If the lane
// is broken already, the lane has failed. If it is not, a relay tells the remote so
// with LANE_RESET, since the remote will see a reset in either case.
func (m *move) judgeLocked() {
	s := m.stream
	if m.conn == nil || s.cause != nil || s.closed {
		return
	}
	if err := duplex.Broken(m.conn); err != nil {
		m.err = err
	} else if s.link.isRelay && duplex.Alive(m.conn) {
		s.link.send(laneResetRecord(s.id))
	}
}

// stay keeps the stream from moving, if it has not begun to.
func (m *move) stay() {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.state == laneNone {
		m.state = laneGone
	}
}

// cut resets the stream if it has a lane.
func (m *move) cut() {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.conn != nil || m.state == laneAwait {
		s.resetLocked(ResetCancel)
	}
}

// Carrier returns the TCP connections that carry the two directions now, each
// nil while the stream does. It is for a caller that can move bytes between TCP
// connections in the kernel. The stream still closes them. The caller may write to
// write after its last Write, and read from read once WriteTo has returned nil.
func (s *Stream) Carrier() (read, write *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tcp, _ := s.lane.conn.(*net.TCPConn)
	if s.recv.moved() && s.in.isEmpty() {
		read = tcp
	}
	if s.send == halfMoved {
		write = tcp
	}
	return read, write
}

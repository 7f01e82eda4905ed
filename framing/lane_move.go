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
	laneGone            // it was lost before; there will be no other
)

// A move is the part of a Stream that is about its lane, see section 8 of
// PROTOCOL.md. Each direction is on the stream until it has ended or moved.
type move struct {
	state   laneState
	conn    duplex.Conn   // the bare connection; set in laneBound
	writing int           // Writes under way
	in, out bool          // bytes have come, and gone, on the lane
	err     error         // why the lane failed
	over    chan struct{} // closed when the lane is closed; from laneAwait on
}

// expectLane makes the stream ready for a lane, one and no other. It reports
// false when it is over, about to be, or had one.
func (s *Stream) expectLane() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.state != laneNone || !s.begins.Load() || s.overLocked() || !s.link.lanes.moving() {
		return false
	}
	s.lane.state = laneAwait
	s.lane.over = make(chan struct{})
	return true
}

// reserveLane takes memory for a lane, until the stream is taken off the link.
func (s *Stream) reserveLane() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire == wireRemoved || !s.link.pool.reserve(LaneMemory) {
		return false
	}
	s.onLane = true
	return true
}

// over reports whether nothing of the stream is left to move.
func (s *Stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked()
}

func (s *Stream) overLocked() bool {
	return s.cause != nil || s.closed || s.wire != wireOpen || s.recv.ended() && s.send.ended()
}

// laneLost notes that the lane was lost before it was bound here. If the other
// side has moved already the stream cannot go on.
func (s *Stream) laneLost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane.state = laneGone
	close(s.lane.over)
	if s.recv.moved() {
		s.breakLocked(errLaneLost)
	}
}

// errLaneLost is the error of a stream that was moving to a lane which is lost.
var errLaneLost = fmt.Errorf("the stream's lane was lost: %w", io.ErrUnexpectedEOF)

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

// attach gives the stream its lane, which it owns from then on, and moves the
// directions that can.
func (s *Stream) attach(c duplex.Conn) {
	prepareLane(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lane.state = laneBound
	s.lane.conn = c
	if s.cause != nil {
		s.dropLaneLocked()
		return
	}
	if s.send.ended() && s.recv.ended() { // both on the stream: nothing is left to move
		s.leaveLaneLocked()
		s.lane.state, s.lane.conn = laneGone, nil
		return
	}
	c.SetReadDeadline(s.readable.deadline)
	c.SetWriteDeadline(s.writable.deadline)
	if s.send.ended() {
		c.CloseWrite()
	}
	s.switchLocked()
	s.wakeLocked()
	s.settleLocked()
}

// switchLocked sends SWITCH if this direction can move now.
func (s *Stream) switchLocked() {
	if s.lane.conn == nil || s.send.moved() || s.send.ended() || s.cause != nil || s.lane.writing > 0 {
		return
	}
	s.send = halfMoved
	s.controlLocked(recSwitch, binary.BigEndian.AppendUint64(nil, uint64(s.out.sent)))
}

// switched is SWITCH from the other side.
func (s *Stream) switched(offset uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.state == laneNone {
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

// writeLaneLocked writes p to the lane.
func (s *Stream) writeLaneLocked(p []byte) (n int, err error) {
	c := s.lane.conn
	s.unlocked(func() { n, err = c.Write(p) })
	s.lane.out = s.lane.out || n > 0
	if err != nil {
		err = s.laneErrorLocked("write", err)
	}
	return n, err
}

// readLaneLocked reads from the lane.
func (s *Stream) readLaneLocked(p []byte) (n int, err error) {
	c := s.lane.conn
	s.unlocked(func() { n, err = c.Read(p) })
	s.lane.in = s.lane.in || n > 0
	if err == io.EOF && s.cutShortLocked(c) {
		err = syscall.ECONNRESET
	}
	if err != nil && err != io.EOF {
		err = s.laneErrorLocked("read", err)
	}
	return n, err
}

// cutShortLocked reports whether the end of stream that a read of the lane has
// found is a reset: the system tells a reset once, and when a write has been told, a
// read sees an end of stream. If this side has sent its end, its last write
// succeeded, so no write can have been told.
func (s *Stream) cutShortLocked(c duplex.Conn) bool {
	return s.closed || s.cause != nil || !s.send.ended() && !duplex.Alive(c)
}

// writeLaneTo writes to w what the lane brings, up to its end.
func (s *Stream) writeLaneTo(w io.Writer) (int64, error) {
	return io.Copy(w, readerFunc(func(p []byte) (int, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.readLaneLocked(p)
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// laneErrorLocked returns err as the error of the stream. Where this side has not
// caused it, the lane has failed, and the stream fails with it.
func (s *Stream) laneErrorLocked(op string, err error) error {
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
		s.lane.err = err
		s.breakLocked(err)
	}
	return s.opError(op, err)
}

// dropLaneLocked cuts the lane.
func (s *Stream) dropLaneLocked() {
	if s.lane.conn != nil {
		s.closeLaneLocked(func(c duplex.Conn) { socket.Abort(c) })
	}
}

// endLaneLocked closes the lane in good order once this side has closed the stream
// and the other side has ended or moved. What still comes on the lane after that is
// refused by the system, with a reset.
func (s *Stream) endLaneLocked() {
	if s.lane.conn != nil && s.closed && s.cause == nil && (s.recv != halfOpen) {
		s.leaveLaneLocked()
	}
}

func (s *Stream) leaveLaneLocked() {
	s.closeLaneLocked(func(c duplex.Conn) {
		socket.Linger(c, -1)
		c.Close()
	})
}

func (s *Stream) closeLaneLocked(how func(duplex.Conn)) {
	select {
	case <-s.lane.over:
	default:
		close(s.lane.over)
		how(s.lane.conn)
		s.readable.stop()
		s.writable.stop()
	}
}

// laneOutcome returns whether bytes went both ways on the lane, and why it
// failed if it did.
func (s *Stream) laneOutcome() (worked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lane.in && s.lane.out, s.lane.err
}

// onLaneLocked reports whether the stream lives on a lane, or is about to:
// SWITCH has come before BOUND.
func (s *Stream) onLaneLocked() bool {
	on := s.lane.conn != nil || s.lane.state == laneAwait && s.recv.moved()
	return on && s.cause == nil && !s.closed
}

// judgeLaneLocked is called when this side is about to reset the stream. If the lane
// is broken already, the lane has failed. If it is not, a relay tells the remote so
// with LANE_RESET, since the remote will see a reset in either case.
func (s *Stream) judgeLaneLocked() {
	if s.lane.conn == nil || s.cause != nil || s.closed {
		return
	}
	if err := duplex.Broken(s.lane.conn); err != nil {
		s.lane.err = err
	} else if s.link.isRelay && duplex.Alive(s.lane.conn) {
		s.link.send(laneResetRecord(s.id))
	}
}

// cutLane resets the stream if it has a lane.
func (s *Stream) cutLane() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane.conn != nil || s.lane.state == laneAwait {
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
	if s.recv.moved() && s.in.buf.len == 0 {
		read = tcp
	}
	if s.send == halfMoved {
		write = tcp
	}
	return read, write
}

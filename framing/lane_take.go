package framing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// ErrNotTaken is the error of taking a visitor from a node that does not give it away,
// or not any more. The stream stays on its link, and may get a lane there.
var ErrNotTaken = errors.New("the node does not give the visitor away")

// takenTrial is for how long after the move a reset of a lane past a hop is taken for a
// failure of the path: the visitor's reset looks alike, and what takes offence at bytes
// without TLS does so soon.
const takenTrial = 3 * time.Second

// An away is what a stream has beside its lane where that is to another node than the
// link, see "Past a hop" in PROTOCOL.md. It is guarded by the stream's lock.
type away struct {
	tls   *tls.Conn // the lane's, as long as FROM has to go there
	at    int64     // after so many bytes of DATA what comes goes on on the lane
	ended bool      // or has ended
}

// Take moves s to a lane of its own to the node that the visitor has come to, by the
// offer in its Header: tc is a TLS connection to that node with LaneProtocol, whose
// handshake is done and which runs on a [TLSRecordConn]. It belongs to the stream then;
// on an error it is closed, and unless the node has begun to move the visitor the stream
// stays on its link. [ErrNotTaken] and [ErrStreamOver] are no faults of the lane's.
//
// Take waits for the node until ctx ends, at most 10 s.
func (s *Stream) Take(ctx context.Context, tc *tls.Conn) (*Lane, error) {
	conn, err := bare(tc)
	if err == nil && s.Header().Lane.Node == "" {
		err = ErrNotTaken
	}
	if err == nil && !s.lane.expect() {
		err = ErrStreamOver
	}
	if err != nil {
		tc.Close()
		return nil, fmt.Errorf("take a visitor: %w", err)
	}
	token := s.Header().Lane.Token
	offset, ended, err := take(ctx, tc, token)
	switch {
	case errors.Is(err, ErrNotTaken):
		tc.Close()
		s.lane.refused()
	case err != nil:
		// Not in good order: an alert of TLS would reach the visitor, if the node has
		// left TLS already.
		socket.Abort(conn)
		s.lane.lost()
	}
	if err != nil {
		return nil, fmt.Errorf("take a visitor: %w", err)
	}
	s.lane.taken(conn, &away{tc, offset, ended})
	return &Lane{tc: tc, link: s.link, stream: s, taken: time.Now()}, nil
}

// take sends TAKE, and waits for TAKEN.
func take(ctx context.Context, tc *tls.Conn, token LaneToken) (offset int64, ended bool, err error) {
	tc.SetDeadline(time.Now().Add(bindTimeout))
	stop := context.AfterFunc(ctx, func() { tc.SetDeadline(time.Unix(1, 0)) })
	_, err = tc.Write(appendRecord(nil, recTake, token[:]))
	if err == nil {
		offset, ended, err = readOffset(tc, recTaken)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err == io.EOF { // with TLS's own word for it
		err = ErrNotTaken
	}
	return offset, ended, err
}

// refused undoes expect.
func (m *move) refused() {
	s := m.stream
	s.mu.Lock()
	moved := s.recv.moved()
	if !moved {
		m.state, m.over = laneNone, nil
	}
	s.mu.Unlock()
	if moved { // SWITCH has come, for which there was no BIND
		m.lost()
	}
}

// taken gives the stream the lane to another node, which it owns from then on.
func (m *move) taken(c duplex.Conn, a *away) {
	prepareLane(c)
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	m.state, m.conn, m.away = laneBound, c, a
	switch {
	case s.cause != nil:
		m.dropLocked()
		return
	case s.recv.moved(), s.in.got > a.at, s.recv.ended() && (!a.ended || s.in.got != a.at):
		m.err = protocolErrorf("TAKEN at %d, ended %v, after %d bytes", a.at, a.ended, s.in.got)
		s.breakLocked(m.err)
		return
	}
	c.SetReadDeadline(s.readable.deadline)
	c.SetWriteDeadline(s.writable.deadline)
	m.reachedLocked()
	if s.send.ended() {
		m.fromLocked(true)
		if s.recv.ended() { // nothing is left to move
			m.leaveLocked()
			m.state, m.conn = laneGone, nil
			return
		}
		c.CloseWrite()
	}
	m.switchLocked()
	s.wakeLocked()
	s.settleLocked()
}

// fromLocked sends FROM, once: what goes has gone on the stream so far, and ended there
// or goes on on the lane. It does not wait: nothing else has been sent on the lane.
func (m *move) fromLocked(ended bool) {
	a := m.away
	if a == nil || a.tls == nil {
		return
	}
	s := m.stream
	a.tls.SetWriteDeadline(time.Now().Add(WriteTimeout))
	_, err := a.tls.Write(offsetRecord(recFrom, s.out.sent, ended))
	a.tls.SetWriteDeadline(s.writable.deadline)
	if a.tls = nil; err != nil {
		m.err = fmt.Errorf("write FROM: %w", err)
		s.breakLocked(m.err)
	}
}

// reachedLocked moves what comes to the lane when all that goes over the hop is there.
func (m *move) reachedLocked() {
	s := m.stream
	switch {
	case m.away == nil || s.recv != halfOpen || s.cause != nil:
	case s.in.got > m.away.at:
		m.excessLocked()
	case s.in.got == m.away.at && !m.away.ended:
		s.recv, s.owed = halfMoved, true
		s.in.ended()
		s.readable.Broadcast()
		s.settleLocked()
	}
}

// excessLocked breaks a stream on which more comes than goes over the hop.
func (m *move) excessLocked() {
	if s := m.stream; s.cause == nil {
		m.err = protocolErrorf("more than %d bytes came on a stream that was taken", m.away.at)
		s.breakLocked(m.err)
	}
}

// endsLocked is END on the stream: too early it breaks one that was taken.
func (m *move) endsLocked() {
	s := m.stream
	if m.away != nil && m.conn != nil && s.cause == nil && s.in.got != m.away.at {
		m.err = protocolErrorf("END after %d bytes of %d on a stream that was taken", s.in.got, m.away.at)
		s.breakLocked(m.err)
	}
}

// outlives reports whether the stream goes on without its link, since it was taken and
// all has come that goes over the hop. Whether all has gone the visitor's node knows.
func (m *move) outlives() bool {
	s := m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.link.isOver() || !s.owed || s.cause != nil || s.send == halfOpen || len(s.out.frames) > 0 || s.out.ready {
		return false
	}
	s.owed = false
	s.settleLocked()
	return true
}

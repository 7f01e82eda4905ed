package framing

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"keystay/internal/socket"
)

// ServeLane serves a lane at the relay: it reads a token from tc, whose
// handshake is done and which runs on a [TLSRecordConn], joins the link that
// join returns for it, and binds the lane to the stream that the remote names.
// Then the stream owns the connection; on an error it is closed. Where the remote takes
// a visitor from a hop, by the token of a lane offer, that is the detour that take
// returns for it, or nil.
//
// joined is called once the lane has joined, or has taken its visitor; it may be nil,
// as may take.
func ServeLane(tc *tls.Conn, join func(LaneToken) *Link, take func(LaneToken) *Detour, joined func()) error {
	err := serveLane(tc, join, take, joined)
	if err != nil {
		tc.Close()
	}
	return err
}

func serveLane(tc *tls.Conn, join func(LaneToken) *Link, take func(LaneToken) *Detour, joined func()) error {
	tc.SetDeadline(time.Now().Add(TokenTime))
	t, p, err := readLaneRecordOf(tc, laneTokenSize, recJoin, recTake)
	if err != nil {
		return fmt.Errorf("read JOIN or TAKE: %w", err)
	}
	if t == recTake {
		return serveTake(tc, LaneToken(p), take, joined)
	}
	l := join(LaneToken(p))
	if l == nil || !l.lanes.addSpare(1) {
		return errors.New("a lane with a token that was not granted, or not now")
	}
	s, err := keepSpare(tc, l, joined)
	l.lanes.addSpare(-1)
	if err != nil {
		return err
	}
	return bindAtRelay(tc, s)
}

// serveTake gives a lane to the visitor that it asks for.
func serveTake(tc *tls.Conn, token LaneToken, take func(LaneToken) *Detour, joined func()) error {
	var d *Detour
	if take != nil {
		d = take(token)
	}
	if d == nil {
		return errors.New("a lane with a token that was not offered, or not any more")
	}
	return d.take(tc, joined)
}

// keepSpare waits for BIND, with memory for a lane that waits.
func keepSpare(tc *tls.Conn, l *Link, joined func()) (*Stream, error) {
	if !l.pool.reserve(SpareLaneMemory) {
		return nil, ErrNoMemory
	}
	defer l.pool.unreserve(SpareLaneMemory)
	if joined != nil {
		joined()
	}
	return awaitBind(tc, l)
}

// awaitBind reads BIND, within SpareLaneTime and as long as the link is up.
func awaitBind(tc *tls.Conn, l *Link) (*Stream, error) {
	tc.SetDeadline(time.Now().Add(SpareLaneTime))
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-l.done:
			tc.SetDeadline(time.Unix(1, 0))
		case <-over:
		}
	})
	defer wg.Wait() // what follows sets deadlines of its own
	defer close(over)
	p, err := readLaneRecord(tc, recBind, 4)
	if err != nil {
		return nil, fmt.Errorf("read BIND: %w", err)
	}
	if s := l.streams.get(binary.BigEndian.Uint32(p)); s != nil {
		return s, nil
	}
	return nil, ErrStreamOver
}

// bindAtRelay answers BIND and takes the lane out of TLS.
func bindAtRelay(tc *tls.Conn, s *Stream) error {
	conn, err := bare(tc)
	if err != nil {
		return err
	}
	if !s.lane.expect() {
		return ErrStreamOver
	}
	if !s.lane.reserve() {
		s.lane.lost()
		return ErrNoMemory
	}
	tc.SetDeadline(time.Now().Add(WriteTimeout))
	if _, err := tc.Write(appendRecord(nil, recBound, nil)); err != nil {
		socket.Abort(conn)
		s.lane.lost()
		return fmt.Errorf("write BOUND: %w", err)
	}
	s.lane.attach(conn)
	return nil
}

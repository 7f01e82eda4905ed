package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	// MaxStreams is how many streams may be open on one link.
	MaxStreams = 4096
	// acceptBacklog is how many streams may wait for Accept; more are refused.
	// After a takeover hundreds of visitors come at once.
	acceptBacklog = 2048
)

// Open opens a stream for a visitor and sends first on it, what has been read
// from the visitor already. Up to InitialCredit bytes it waits for nothing, with
// more as Write does. Only a relay's link opens.
func (l *Link) Open(h Header, first []byte) (*Stream, error) {
	rec, err := h.record()
	if err != nil {
		return nil, err
	}
	if !l.isRelay {
		return nil, errors.New("open stream: only a relay opens streams")
	}
	s := newStream(l)
	s.header, s.local, s.remote = h, l.conn.LocalAddr(), l.conn.RemoteAddr()
	s.parse.phase = phaseData // before the reader knows of it
	if err := l.add(s); err != nil {
		if err == errNoIDs {
			l.fail(err)
		}
		return nil, err
	}
	l.sender.start()
	l.sender.syn(s.id)
	l.opened()
	rest, err := s.begin(rec, first)
	if lerr := l.Err(); lerr != nil { // it may have been lost meanwhile
		err = lerr
	}
	if err == nil && len(rest) > 0 {
		_, err = s.Write(rest)
	}
	if err != nil {
		s.Reset()
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return s, nil
}

// errNoIDs is the error of opening one stream more than there are ids. It ends the
// link.
var errNoIDs = errors.New("the stream ids of this link have run out")

// add counts a stream, and makes it known by its id, within MaxStreams. A relay
// gives it the id, as the client of a smux connection does: 3, 5, and so on. A
// remote takes up to twice as many streams: it may learn that one is over after the
// relay has put another one in its place.
func (l *Link) add(s *Stream) error {
	limit := MaxStreams
	if !l.isRelay {
		limit *= 2
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.isRelay && l.goodbye.goingAway:
		return ErrGoingAway
	case len(l.streams) >= limit:
		return ErrTooManyStreams
	case l.isRelay && l.lastID > math.MaxUint32-2:
		return errNoIDs
	case !l.pool.reserve(StreamMemory):
		return ErrNoMemory
	}
	if l.isRelay {
		l.muxed = true
		l.lastID += 2
		s.id = l.lastID
	}
	if l.streams == nil {
		l.streams, l.byID = make(map[*Stream]struct{}), make(map[uint32]*Stream)
	}
	l.streams[s], l.byID[s.id] = struct{}{}, s
	if l.isRelay {
		l.goodbye.opening++
	} else {
		l.goodbye.waiting++
	}
	return nil
}

// opened notes that a stream's SYN has been queued.
func (l *Link) opened() {
	l.mu.Lock()
	l.goodbye.opening--
	ok := l.acknowledgeLocked()
	l.mu.Unlock()
	if !ok {
		l.fail(errTooMuchQueued)
	}
}

func (l *Link) remove(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	n := StreamMemory
	if s.onLane {
		n += LaneMemory
	}
	l.pool.unreserve(n)
	l.checkLocked()
}

// hasBegun notes, at the remote, that a stream has reached accepted, or ended
// before.
func (l *Link) hasBegun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goodbye.waiting--
	l.checkLocked()
}

// stream returns the stream with a smux id, until its smux side is closed, or
// nil.
func (l *Link) stream(id uint32) *Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

// unregister forgets a stream's id, once its smux side is closed.
func (l *Link) unregister(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, s.id)
}

// checkLocked wakes WaitIdle and Accept when nothing is left to wait for.
func (l *Link) checkLocked() {
	if l.idle == nil && !l.goodbye.acked {
		return
	}
	if l.idle != nil && len(l.streams) == 0 {
		close(l.idle)
		l.idle = nil
	}
	if !l.isRelay && l.goodbye.acked && l.goodbye.waiting == 0 && !l.isDrained() {
		close(l.goodbye.drained)
	}
}

// isDrained reports whether Accept has nothing to wait for.
func (l *Link) isDrained() bool {
	select {
	case <-l.goodbye.drained:
		return true
	default:
		return false
	}
}

// WaitIdle waits until no stream is left or ctx ends. On a link that is lost the
// streams that have lanes are left.
func (l *Link) WaitIdle(ctx context.Context) error {
	l.mu.Lock()
	if len(l.streams) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NumStreams is how many streams are open, or ended and not yet read to their
// end.
func (l *Link) NumStreams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams)
}

// cause is why the link ended, if it did, else err. A link that the other side
// closed in good order is still no end of a stream in it.
func (l *Link) cause(err error) error {
	if lerr := l.Err(); lerr != nil && lerr != io.EOF {
		return lerr
	}
	return err
}

// beginMux is START_MUX, at the remote.
func (l *Link) beginMux() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.muxed {
		return protocolErrorf("START_MUX twice")
	}
	l.muxed = true
	return nil
}

func (l *Link) hasMux() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muxed
}

// opens notes a stream that the relay opens.
func (l *Link) opens(id uint32) error {
	if l.isRelay {
		return protocolErrorf("the remote opened a stream")
	}
	if l.stream(id) != nil {
		return protocolErrorf("a stream opened twice")
	}
	s := newStream(l)
	s.id = id
	if err := l.add(s); err != nil {
		return protocolErrorf("%v", err)
	}
	return nil
}

// Accept returns the next stream that the relay opened. It blocks until there
// is one, or the link is over, or no more can come after GoAway: then the error
// is ErrGoingAway. Only a remote's link accepts.
func (l *Link) Accept() (*Stream, error) {
	select {
	case s := <-l.accepted:
		return s, nil
	case <-l.done:
		return nil, l.Err()
	case <-l.goodbye.drained:
	}
	select {
	case s := <-l.accepted:
		return s, nil
	default:
		return nil, ErrGoingAway
	}
}

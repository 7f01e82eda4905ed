package framing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

const (
	// MaxStreams is how many streams may be open on one link.
	MaxStreams = 4096
	// acceptBacklog is how many streams may wait for Accept; more are refused.
	// After a takeover hundreds of visitors come at once.
	acceptBacklog = 2048
)

// A table is the streams of a Link, and whether more of them can come.
type table struct {
	link     *Link
	accepted chan *Stream // that wait for Accept; at the remote

	mu      sync.Mutex
	muxed   bool // the session has begun
	all     map[*Stream]struct{}
	byID    map[uint32]*Stream // those whose smux side is open
	lastID  uint32             // of the last stream that was opened; at the relay
	idle    chan struct{}      // closed when the last stream goes; nil when nobody waits
	gone    chan struct{}      // closed when the next stream goes; nil when nobody waits
	goodbye goodbye
}

// Open opens a stream for a visitor and sends first on it, what has been read
// from the visitor already. Up to InitialCredit bytes it waits for nothing, with
// more as Write does. Only a relay's link opens.
func (l *Link) Open(h Header, first []byte) (*Stream, error) {
	if !l.Takes() {
		h.Lane = LaneOffer{} // whoever cannot take it is not to know its token
	}
	rec, err := h.record()
	if err != nil {
		return nil, err
	}
	if !l.isRelay {
		return nil, errors.New("open stream: only a relay opens streams")
	}
	s := newStream(l)
	s.header, s.local, s.remote = h, l.conn.LocalAddr(), l.conn.RemoteAddr()
	if err := l.streams.add(s); err != nil {
		if err == errNoIDs {
			l.fail(err)
		}
		return nil, err
	}
	l.sender.start()
	l.sender.syn(s.id)
	l.streams.opened()
	rest, err := s.begin(rec, first)
	l.sender.pump()
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
func (t *table) add(s *Stream) error {
	limit, atRelay := MaxStreams, t.link.isRelay
	if !atRelay {
		limit *= 2
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.link.isOver():
		return t.link.Err()
	case atRelay && t.goodbye.goingAway:
		return ErrGoingAway
	case len(t.all) >= limit:
		return ErrTooManyStreams
	case atRelay && t.lastID > math.MaxUint32-2:
		return errNoIDs
	case !t.link.pool.reserve(StreamMemory):
		return ErrNoMemory
	}
	if atRelay {
		t.muxed = true
		t.lastID += 2
		s.id = t.lastID
	}
	if t.all == nil {
		t.all, t.byID = make(map[*Stream]struct{}), make(map[uint32]*Stream)
	}
	t.all[s], t.byID[s.id] = struct{}{}, s
	if atRelay {
		t.goodbye.opening++
	} else {
		t.goodbye.waiting++
	}
	return nil
}

// opened notes that a stream's SYN has been queued.
func (t *table) opened() {
	t.mu.Lock()
	t.goodbye.opening--
	ok := t.acknowledgeLocked()
	t.mu.Unlock()
	if !ok {
		t.link.fail(errTooMuchQueued)
	}
}

// arrived notes, at the remote, that a stream has reached Accept, or ended before.
func (t *table) arrived() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goodbye.waiting--
	t.drainLocked()
}

// remove takes a stream out of which nothing is left, and gives back the memory that
// was reserved for it.
func (t *table) remove(s *Stream, memory int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, s)
	t.link.pool.unreserve(memory)
	if t.gone != nil {
		close(t.gone)
		t.gone = nil
	}
	if t.idle != nil && len(t.all) == 0 {
		close(t.idle)
		t.idle = nil
	}
}

// get returns the stream with a smux id, until its smux side is closed, or nil.
func (t *table) get(id uint32) *Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// forget forgets a stream's id, once its smux side is closed.
func (t *table) forget(s *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, s.id)
}

// snapshot returns the streams that there are.
func (t *table) snapshot() []*Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.all))
}

// CutStreams resets those streams of the link for which match returns true, also those
// on lanes, and returns how many it has reset. It works on a link that is lost, too.
// Match is called with no lock held, and also for a stream whose header has not come:
// its Header is the zero value.
func (l *Link) CutStreams(match func(*Stream) bool) (n int) {
	for _, s := range l.streams.snapshot() {
		if match(s) {
			s.Reset()
			n++
		}
	}
	return n
}

// CountStreams is for how many of the streams that NumStreams counts match returns
// true. It is called as by CutStreams.
func (l *Link) CountStreams(match func(*Stream) bool) (n int) {
	for _, s := range l.streams.snapshot() {
		if match(s) {
			n++
		}
	}
	return n
}

// WaitGone waits until no stream is left for which match returns true, or until ctx
// ends, and then returns the error of ctx. Match is called as by CutStreams.
func (l *Link) WaitGone(ctx context.Context, match func(*Stream) bool) error {
	for {
		gone := l.streams.awaitGone()
		if l.CountStreams(match) == 0 {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitGone returns a channel that is closed when the next stream goes.
func (t *table) awaitGone() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		t.gone = make(chan struct{})
	}
	return t.gone
}

// WaitIdle waits until no stream is left or ctx ends. On a link that is lost the
// streams that have lanes are left.
func (l *Link) WaitIdle(ctx context.Context) error {
	idle := l.streams.awaitIdle()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitIdle returns a channel that is closed when the last stream goes, or nil if
// there is none.
func (t *table) awaitIdle() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) > 0 && t.idle == nil {
		t.idle = make(chan struct{})
	}
	return t.idle
}

// NumStreams is how many streams are open, or ended and not yet read to their
// end.
func (l *Link) NumStreams() int {
	l.streams.mu.Lock()
	defer l.streams.mu.Unlock()
	return len(l.streams.all)
}

// handleStartMux is START_MUX, at the remote.
func (t *table) handleStartMux(p []byte) error {
	if len(p) < 1 || p[0] != smuxVersion {
		return protocolErrorf("START_MUX of another smux version")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.muxed {
		return protocolErrorf("START_MUX twice")
	}
	t.muxed = true
	return nil
}

// hasBegun reports whether the session has begun.
func (t *table) hasBegun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.muxed
}

// opens notes a stream that the relay opens.
func (t *table) opens(id uint32) error {
	if t.link.isRelay {
		return protocolErrorf("the remote opened a stream")
	}
	if t.get(id) != nil {
		return protocolErrorf("a stream opened twice")
	}
	s := newStream(t.link)
	s.id = id
	if err := t.add(s); err != nil {
		return protocolErrorf("%v", err)
	}
	return nil
}

// offer puts a stream among those that wait for Accept, if there is room. It takes
// none that was opened after the acknowledgement of GOAWAY.
func (t *table) offer(s *Stream) bool {
	if t.goodbye.isDrained() {
		return false
	}
	select {
	case t.accepted <- s:
		return true
	default:
		return false
	}
}

// Accept returns the next stream that the relay opened. It blocks until there
// is one, or the link is over, or no more can come after GoAway: then the error
// is ErrGoingAway. Only a remote's link accepts.
func (l *Link) Accept() (*Stream, error) {
	select {
	case s := <-l.streams.accepted:
		return s, nil
	case <-l.done:
		return nil, l.Err()
	case <-l.streams.goodbye.drained:
	}
	select {
	case s := <-l.streams.accepted:
		return s, nil
	default:
		return nil, ErrGoingAway
	}
}

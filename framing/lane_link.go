package framing

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net"
	"sync"
	"time"

	"keystay/internal/socket"
)

const (
	// laneAskInterval and laneAskBurst keep a remote's LANES_WANTED well below
	// what a relay calls a flood: so many at once, and then one in each interval.
	laneAskInterval = 100 * time.Millisecond
	laneAskBurst    = 40
)

// lanes is what a Link knows of lanes. A remote asks for tokens with it, and waits
// for an explanation where a lane that was bound has ended; a relay counts in it
// those that are not bound.
type lanes struct {
	link   *Link
	agreed bool // both sides have named CapabilityLanes; fixed from the start

	asking chan struct{} // holds one element from LANES_WANTED until its answer; at the remote
	asked  time.Duration // goes on by laneAskInterval with each LANES_WANTED; guarded by asking

	mu      sync.Mutex
	tokens  chan []LaneToken // takes the answer to LANES_WANTED; nil when none is due
	bound   map[uint32]*Lane // those whose outcome is awaited, by stream; at the remote
	excuses int              // how many LANE_RESETs may come: one for each BIND; at the remote
	spare   int              // lanes that have joined and are not bound; at the relay
	cut     bool             // CutLanes was called: no stream moves any more
}

// Lanes reports whether both sides can move streams to lanes.
func (l *Link) Lanes() bool { return l.lanes.agreed }

// Takes reports whether the remote can take visitors from other nodes of the relay, as
// far as this link says.
func (l *Link) Takes() bool { return l.lanes.agreed && l.peerMinor >= nodesMinor }

// WantLanes asks the relay for tokens for n lanes, at most MaxSpareLanes. It
// returns those that are granted, or ErrNoLanes. Only a remote's link asks, and
// waits where it would ask too often.
func (l *Link) WantLanes(ctx context.Context, n int) ([]LaneToken, error) {
	if !l.lanes.agreed {
		return nil, ErrNoLanes
	}
	select {
	case l.lanes.asking <- struct{}{}: // given back by handleTokens
	case <-l.done:
		return nil, fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := l.lanes.pace(ctx); err != nil {
		<-l.lanes.asking
		return nil, err
	}
	answer := l.lanes.ask(n)
	select {
	case tokens := <-answer:
		if len(tokens) == 0 {
			return nil, ErrNoLanes
		}
		return tokens, nil
	case <-l.done:
		return nil, fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pace waits until LANES_WANTED may be sent.
func (a *lanes) pace(ctx context.Context) error {
	now := a.link.now()
	a.asked = max(a.asked, now) + laneAskInterval
	timer := time.NewTimer(a.asked - now - laneAskBurst*laneAskInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.link.done:
		return fmt.Errorf("link lost: %w", a.link.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask sends LANES_WANTED, and returns the channel that its answer comes on.
func (a *lanes) ask(n int) <-chan []LaneToken {
	answer := make(chan []LaneToken, 1)
	a.mu.Lock()
	a.tokens = answer
	a.mu.Unlock()
	a.link.send(appendRecord(nil, recLanesWanted, []byte{byte(max(1, min(n, MaxSpareLanes)))}))
	return answer
}

// handleWanted is LANES_WANTED, at the relay.
func (a *lanes) handleWanted(p []byte) error {
	if len(p) < 1 {
		return protocolErrorf("short LANES_WANTED")
	}
	var payload []byte
	if n := min(int(p[0]), a.room()); n > 0 && a.link.handler.LaneTokens != nil {
		for _, t := range a.link.handler.LaneTokens(n) {
			payload = append(payload, t[:]...)
		}
	}
	a.link.send(appendRecord(nil, recLaneTokens, payload))
	return nil
}

// room is how many more lanes may join.
func (a *lanes) room() int {
	if a.link.streams.isLeaving() {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cut {
		return 0
	}
	return MaxSpareLanes - a.spare
}

// handleTokens is LANE_TOKENS, at the remote.
func (a *lanes) handleTokens(p []byte) error {
	var tokens []LaneToken
	for ; len(p) >= laneTokenSize; p = p[laneTokenSize:] {
		tokens = append(tokens, LaneToken(p[:laneTokenSize]))
	}
	a.mu.Lock()
	answer := a.tokens
	a.tokens = nil
	a.mu.Unlock()
	if answer == nil || len(p) > 0 {
		return protocolErrorf("LANE_TOKENS that nobody asked for, or with half a token")
	}
	answer <- tokens // has room; nobody may wait any more
	<-a.asking
	return nil
}

func laneResetRecord(id uint32) []byte {
	return appendRecord(nil, recLaneReset, binary.BigEndian.AppendUint32(nil, id))
}

// handleReset is LANE_RESET, at the remote: it excuses a lane. It costs no points,
// as visitors may reset their connections by the thousand at once.
func (a *lanes) handleReset(p []byte) error {
	if len(p) < 4 {
		return protocolErrorf("short LANE_RESET")
	}
	a.mu.Lock()
	a.excuses--
	tooMany := a.excuses < 0
	n := a.bound[binary.BigEndian.Uint32(p)]
	a.mu.Unlock()
	if tooMany {
		return protocolErrorf("LANE_RESET of more lanes than there were")
	}
	if n != nil {
		n.excuse.Do(func() { close(n.excused) })
	}
	return nil
}

// addSpare counts a lane that has joined, or joins no more. It reports false
// when there are too many, or the link is over.
func (a *lanes) addSpare(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > 0 && (a.link.isOver() || a.spare >= MaxSpareLanes) {
		return false
	}
	a.spare += n
	return true
}

// note notes a lane to which BIND is about to be sent.
func (a *lanes) note(n *Lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bound == nil {
		a.bound = make(map[uint32]*Lane)
	}
	a.bound[n.stream.id] = n
	a.excuses++
}

// forget forgets a lane whose outcome nobody awaits any more.
func (a *lanes) forget(n *Lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.bound, n.stream.id)
}

// moving reports whether streams of the link may still move to lanes.
func (a *lanes) moving() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.cut && !a.link.isOver()
}

// CutLanes resets the streams of the link that are on lanes or on their way. The
// others end with the link: none moves any more.
func (l *Link) CutLanes() {
	l.lanes.mu.Lock()
	l.lanes.cut = true
	l.lanes.mu.Unlock()
	for _, s := range l.streams.snapshot() {
		s.lane.cut()
	}
}

// CutLanesOf is CutLanes for the streams of one name that there are.
func (l *Link) CutLanesOf(name string) {
	for _, s := range l.streams.snapshot() {
		if s.Header().Name == name {
			s.lane.stay()
			s.lane.cut()
		}
	}
}

// NumLanes is how many streams of the link have a lane.
func (l *Link) NumLanes() (n int) {
	for range l.laneConns() {
		n++
	}
	return n
}

// SpareLanes is how many lanes have joined the link and wait for a stream, at the relay.
func (l *Link) SpareLanes() int {
	l.lanes.mu.Lock()
	defer l.lanes.mu.Unlock()
	return l.lanes.spare
}

// laneConns yields the lanes of the link's streams.
func (l *Link) laneConns() iter.Seq[net.Conn] {
	return func(yield func(net.Conn) bool) {
		for _, s := range l.streams.snapshot() {
			s.mu.Lock()
			lane := s.lane.conn
			s.mu.Unlock()
			if lane != nil && !yield(lane) {
				return
			}
		}
	}
}

// Retransmits is how many packets were sent once more, because they were lost, on
// the link and on the lanes that its streams have now; 0 where the system does not
// tell. So it gets smaller when a lane ends.
func (l *Link) Retransmits() int {
	n := socket.Retransmits(l.conn)
	for lane := range l.laneConns() {
		n += socket.Retransmits(lane)
	}
	return n
}

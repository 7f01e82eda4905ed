package framing

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	// laneAskInterval and laneAskBurst keep a remote's LANES_WANTED well below
	// what a relay calls a flood: so many at once, and then one in each interval.
	laneAskInterval = 100 * time.Millisecond
	laneAskBurst    = 40
)

// laneLink is the part of a Link that is about lanes. What is not said to be
// otherwise is guarded by Link.mu.
type laneLink struct {
	agreed  bool             // both sides have named CapabilityLanes; fixed from the start
	spare   int              // lanes that have joined and are not bound; at the relay
	lanes   map[uint32]*Lane // bound ones whose outcome is awaited, by stream; at the remote
	cut     bool             // CutLanes was called: no stream moves any more
	excuses int              // how many LANE_RESETs may come: one for each BIND; at the remote
	asking  chan struct{}    // holds one element from LANES_WANTED until its answer
	asked   time.Duration    // goes on by laneAskInterval with each LANES_WANTED; guarded by asking
	tokens  chan []LaneToken // takes the answer; nil when none is due
}

func newLaneLink() laneLink { return laneLink{asking: make(chan struct{}, 1)} }

// Lanes reports whether both sides can move streams to lanes.
func (l *Link) Lanes() bool { return l.agreed }

// WantLanes asks the relay for tokens for n lanes, at most MaxSpareLanes. It
// returns those that are granted, or ErrNoLanes. Only a remote's link asks, and
// waits where it would ask too often.
func (l *Link) WantLanes(ctx context.Context, n int) ([]LaneToken, error) {
	if !l.agreed {
		return nil, ErrNoLanes
	}
	select {
	case l.asking <- struct{}{}: // given back by handleLaneTokens
	case <-l.done:
		return nil, fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := l.paceLanes(ctx); err != nil {
		<-l.asking
		return nil, err
	}
	answer := make(chan []LaneToken, 1)
	l.mu.Lock()
	l.tokens = answer
	l.mu.Unlock()
	l.send(appendRecord(nil, recLanesWanted, []byte{byte(max(1, min(n, MaxSpareLanes)))}))
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

// paceLanes waits until LANES_WANTED may be sent.
func (l *Link) paceLanes(ctx context.Context) error {
	now := l.now()
	l.asked = max(l.asked, now) + laneAskInterval
	timer := time.NewTimer(l.asked - now - laneAskBurst*laneAskInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.done:
		return fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handleLanes acts on a control record if it is about lanes.
func (l *Link) handleLanes(t recordType, p []byte) (ours bool, err error) {
	switch {
	case !l.agreed:
		return false, nil
	case t == recLanesWanted && l.isRelay:
		return true, l.handleLanesWanted(p)
	case t == recLaneTokens && !l.isRelay:
		return true, l.handleLaneTokens(p)
	case t == recLaneReset && !l.isRelay:
		return true, l.handleLaneReset(p)
	}
	return false, nil
}

// handleLanesWanted answers a remote.
func (l *Link) handleLanesWanted(p []byte) error {
	if len(p) < 1 {
		return protocolErrorf("short LANES_WANTED")
	}
	var payload []byte
	l.mu.Lock()
	room := MaxSpareLanes - l.spare
	if l.cut {
		room = 0
	}
	l.mu.Unlock()
	if l.streams.isLeaving() {
		room = 0
	}
	if n := min(int(p[0]), room); n > 0 && l.handler.LaneTokens != nil {
		for _, t := range l.handler.LaneTokens(n) {
			payload = append(payload, t[:]...)
		}
	}
	l.send(appendRecord(nil, recLaneTokens, payload))
	return nil
}

func (l *Link) handleLaneTokens(p []byte) error {
	var tokens []LaneToken
	for ; len(p) >= laneTokenSize; p = p[laneTokenSize:] {
		tokens = append(tokens, LaneToken(p[:laneTokenSize]))
	}
	l.mu.Lock()
	answer := l.tokens
	l.tokens = nil
	l.mu.Unlock()
	if answer == nil || len(p) > 0 {
		return protocolErrorf("LANE_TOKENS that nobody asked for, or with half a token")
	}
	answer <- tokens // has room; nobody may wait any more
	<-l.asking
	return nil
}

func laneResetRecord(id uint32) []byte {
	return appendRecord(nil, recLaneReset, binary.BigEndian.AppendUint32(nil, id))
}

// handleLaneReset excuses a lane. It costs no points, as visitors may reset
// their connections by the thousand at once.
func (l *Link) handleLaneReset(p []byte) error {
	if len(p) < 4 {
		return protocolErrorf("short LANE_RESET")
	}
	l.mu.Lock()
	l.excuses--
	tooMany := l.excuses < 0
	n := l.lanes[binary.BigEndian.Uint32(p)]
	l.mu.Unlock()
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
func (l *Link) addSpare(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && (l.err != nil || l.spare >= MaxSpareLanes) {
		return false
	}
	l.spare += n
	return true
}

func (l *Link) noteLane(id uint32, n *Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes == nil {
		l.lanes = make(map[uint32]*Lane)
	}
	l.lanes[id] = n
	l.excuses++
}

func (l *Link) forgetLane(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, id)
}

// moves reports whether streams of the link may still move to lanes.
func (l *Link) moves() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && !l.cut
}

// CutLanes resets the streams of the link that are on lanes or on their way. The
// others end with the link: none moves any more.
func (l *Link) CutLanes() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	for _, s := range l.streams.snapshot() {
		s.cutLane()
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

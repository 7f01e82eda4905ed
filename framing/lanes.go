package framing

import (
	"context"
	"encoding/binary"
	"fmt"
)

// laneLink is the part of a Link that is about lanes. What is not said to be
// otherwise is guarded by Link.mu.
type laneLink struct {
	agreed bool             // both sides have named CapabilityLanes; fixed from the start
	spare  int              // lanes that have joined and are not bound; at the relay
	lanes  map[uint32]*Lane // bound ones whose outcome is awaited, by stream; at the remote
	asking chan struct{}    // holds one element while WantLanes waits
	tokens chan []LaneToken // the answer to it
}

func newLaneLink() laneLink {
	return laneLink{asking: make(chan struct{}, 1), tokens: make(chan []LaneToken, 1)}
}

// Lanes reports whether both sides can move streams to lanes.
func (l *Link) Lanes() bool { return l.agreed }

// WantLanes asks the relay for tokens for n lanes, at most MaxSpareLanes. It
// returns those that are granted, or ErrNoLanes. Only a remote's link asks.
func (l *Link) WantLanes(ctx context.Context, n int) ([]LaneToken, error) {
	if !l.agreed {
		return nil, ErrNoLanes
	}
	select {
	case l.asking <- struct{}{}:
	case <-l.done:
		return nil, fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.send(appendRecord(nil, recLanesWanted, []byte{byte(min(n, MaxSpareLanes))}))
	select {
	case tokens := <-l.tokens:
		<-l.asking
		if len(tokens) == 0 {
			return nil, ErrNoLanes
		}
		return tokens, nil
	case <-l.done:
		return nil, fmt.Errorf("link lost: %w", l.Err())
	}
}

// handleLanesWanted answers a remote.
func (l *Link) handleLanesWanted(p []byte) error {
	if len(p) < 1 {
		return protocolErrorf("short LANES_WANTED")
	}
	var payload []byte
	l.mu.Lock()
	room := MaxSpareLanes - l.spare
	l.mu.Unlock()
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
	if len(l.asking) == 0 || len(p) > 0 {
		return protocolErrorf("LANE_TOKENS that nobody asked for, or with half a token")
	}
	select {
	case l.tokens <- tokens:
		return nil
	default:
		return protocolErrorf("LANE_TOKENS twice")
	}
}

func laneResetRecord(id uint32) []byte {
	return appendRecord(nil, recLaneReset, binary.BigEndian.AppendUint32(nil, id))
}

// handleLaneReset excuses a lane.
func (l *Link) handleLaneReset(p []byte) error {
	if len(p) < 4 {
		return protocolErrorf("short LANE_RESET")
	}
	l.mu.Lock()
	n := l.lanes[binary.BigEndian.Uint32(p)]
	l.mu.Unlock()
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

// stream returns the open stream with a smux id, or nil.
func (l *Link) stream(id uint32) *Stream {
	if id == 0 { // that of all streams whose own is not known yet
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		if s.id.Load() == id {
			return s
		}
	}
	return nil
}

func (l *Link) noteLane(id uint32, n *Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes == nil {
		l.lanes = make(map[uint32]*Lane)
	}
	l.lanes[id] = n
}

func (l *Link) forgetLane(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, id)
}

// CutLanes resets the streams of the link that are on lanes. The others end
// with the link.
func (l *Link) CutLanes() {
	l.mu.Lock()
	var moved []*Stream
	for s := range l.streams {
		moved = append(moved, s)
	}
	l.mu.Unlock()
	for _, s := range moved {
		s.cutLane()
	}
}

// cutLane resets the stream if it has a lane.
func (s *Stream) cutLane() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane != nil {
		s.resetLocked(ResetCancel)
	}
}

// noticeBulk tells the remote, once, of a stream that has carried so much that
// it should move.
func (s *Stream) noticeBulk() {
	h := &s.link.handler
	if !s.link.agreed || h.Bulk == nil {
		return
	}
	s.mu.Lock()
	bulk := !s.noticed && s.move.state == laneNone && max(s.sent, s.got) >= h.BulkAfter && s.err == nil && !s.closed
	s.noticed = s.noticed || bulk
	s.mu.Unlock()
	if bulk {
		h.Bulk(s)
	}
}

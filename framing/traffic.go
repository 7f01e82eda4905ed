package framing

import "sync/atomic"

// A Traffic counts the bytes of streams at one end of links, by their direction and by
// what carries them. It grows while a stream goes on. What a caller moves between the
// connections of [Stream.Carrier] is not in it.
type Traffic struct {
	StreamIn, StreamOut atomic.Int64 // on links: what came from the other side, what was queued for it
	LaneIn, LaneOut     atomic.Int64 // on lanes
}

// carried counts n bytes, where it is counted at all.
func (t *Traffic) carried(of func(*Traffic) *atomic.Int64, n int) {
	if t != nil && n > 0 {
		of(t).Add(int64(n))
	}
}

func streamIn(t *Traffic) *atomic.Int64  { return &t.StreamIn }
func streamOut(t *Traffic) *atomic.Int64 { return &t.StreamOut }
func laneIn(t *Traffic) *atomic.Int64    { return &t.LaneIn }
func laneOut(t *Traffic) *atomic.Int64   { return &t.LaneOut }

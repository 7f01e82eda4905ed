package remote

import (
	"testing"
	"time"
)

// Lanes are opened in a burst, and then no faster than a relay allows.
func TestLaneRate(t *testing.T) {
	var n lanes
	now := time.Now()
	opened := func() (k int) {
		for n.mayOpen(now) {
			k++
		}
		return k
	}
	if k := opened(); k != laneBurst {
		t.Errorf("%d lanes at once, want %d", k, laneBurst)
	}
	now = now.Add(time.Second)
	if k := opened(); k != 10 {
		t.Errorf("%d lanes a second later, want 10", k)
	}
	now = now.Add(time.Hour)
	if k := opened(); k != laneBurst {
		t.Errorf("%d lanes after a quiet hour, want %d", k, laneBurst)
	}
}

// None is tried for a while after two failures in a row, and for longer after
// each further one.
func TestLaneHealth(t *testing.T) {
	var h laneHealth
	now := time.Now()
	if h.failed(now) != 0 || !h.allowed(now) {
		t.Error("one failure is no reason")
	}
	h.good()
	if h.failed(now) != 0 {
		t.Error("one that worked does not count")
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if rest := h.failed(now); rest != want {
			t.Errorf("rests %v, want %v", rest, want)
		}
		if h.allowed(now.Add(want-1)) || !h.allowed(now.Add(want)) {
			t.Errorf("does not rest for %v", want)
		}
		now = now.Add(want)
	}
	for range 100 {
		if rest := h.failed(now); rest > maxLaneRest {
			t.Fatalf("rests %v", rest)
		}
	}
}

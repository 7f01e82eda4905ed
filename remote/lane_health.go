package remote

import (
	"sync"
	"time"
)

const (
	// laneTrial is how long a lane must live after its stream has moved to it
	// so that its end says nothing about lanes.
	laneTrial = 30 * time.Second
	// laneRest is how long none is tried after maxLaneFailures in a row; each
	// further failure doubles it, up to maxLaneRest.
	laneRest        = time.Minute
	maxLaneRest     = time.Hour
	maxLaneFailures = 2
)

// laneHealth remembers whether lanes get through to a relay from here. A lane
// that fails harms its visitor, so where some fail in a row none is tried for a
// while. The zero value is ready.
type laneHealth struct {
	mu       sync.Mutex
	failures int // since the last that worked
	until    time.Time
}

// allowed reports whether a lane may be tried.
func (h *laneHealth) allowed(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !now.Before(h.until)
}

// isGood reports whether none has failed since the last that worked.
func (h *laneHealth) isGood() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failures == 0
}

// good notes a lane on which bytes went both ways.
func (h *laneHealth) good() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = 0
}

// failed notes a lane that failed, and returns for how long none is tried from
// now on; 0 where that does not change.
func (h *laneHealth) failed(now time.Time) (rest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.until) {
		return 0 // it began before the rest, and fails for the same reason
	}
	h.failures++
	if h.failures < maxLaneFailures {
		return 0
	}
	rest = maxLaneRest
	if n := h.failures - maxLaneFailures; n < 6 {
		rest = laneRest << n
	}
	h.until = now.Add(rest)
	return rest
}

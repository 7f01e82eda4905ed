package remote

import (
	"math/rand/v2"
	"time"
)

const (
	// firstPause is the longest wait before the second attempt to reach a
	// relay; each further one is twice as long, up to maxPause. The real wait
	// is a random part of it, so that a relay that was restarted is not
	// trampled.
	firstPause = 500 * time.Millisecond
	maxPause   = 15 * time.Second
	// quickPause takes the place of maxPause in the first quickTime of an
	// outage, after attempts that cost the relay nothing. Most relays that are
	// gone are being restarted, or their host is: then everybody is back
	// quickPause after the relay is. A relay that answers and fails is left
	// alone ever longer from the start.
	quickPause = 2 * time.Second
	quickTime  = 2 * time.Minute
	// steady is how long a session must last to count as a success.
	steady = 30 * time.Second
)

// A retry says how long to wait before the next attempt to reach a relay. The
// zero value begins an outage with its first wait.
type retry struct {
	began time.Time // of the outage
	limit time.Duration
}

// wait returns how long to wait after an attempt. Cheap says that it has cost
// the relay nothing.
func (r *retry) wait(cheap bool) time.Duration {
	if r.began.IsZero() {
		r.began, r.limit = time.Now(), firstPause
	}
	longest := maxPause
	if cheap && time.Since(r.began) < quickTime {
		longest = quickPause
	}
	limit := min(r.limit, longest)
	r.limit = min(2*r.limit, longest)
	return rand.N(limit) + 1
}

// cheap reports whether an attempt that ended with err has cost the relay
// nothing: nobody took the connection. One that is closed in the handshake is
// not cheap, since so does a relay that has too much to do.
func cheap(err error) bool { return isDial(err) }

package remote

import (
	"context"
	"sync"
)

// A line lets the links to a relay go one after the other: while none is up,
// one is dialled and the others wait until it is. Only the first makes the name
// answer, so when many remotes come back at once no second link takes the place
// of somebody's first. The zero value is ready for use.
type line struct {
	mu      sync.Mutex
	up      int
	outages int           // how often the last link was lost
	dialing bool          // a first link was let go, and is not up yet
	changed chan struct{} // closed when a link comes up; nil when nobody waits
}

// enter waits until a link may be dialled, or ctx ends. It reports whether this
// one is the first, and if not, whether it had to wait.
func (q *line) enter(ctx context.Context) (first, waited bool) {
	for ctx.Err() == nil {
		q.mu.Lock()
		if q.up > 0 || !q.dialing {
			first = q.up == 0
			q.dialing = first
			q.mu.Unlock()
			return first, waited
		}
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		waited = true
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return false, waited
}

// rise notes that a link is up, and reports whether it is the first.
func (q *line) rise() (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.up++
	q.dialing = false
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
	return q.up == 1
}

// fall notes that a link is not up any more.
func (q *line) fall() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.up--
	if q.up == 0 {
		q.outages++
	}
}

// down reports whether no link is up, and how often that has come about.
func (q *line) down() (now bool, times int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.up == 0, q.outages
}

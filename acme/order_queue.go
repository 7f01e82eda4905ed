package acme

import (
	"context"
	"slices"
	"sync"
)

const (
	// maxOrders is how many orders are under way at once, so that a device with
	// many names does not run into the CA's limits by starting them together.
	maxOrders = 5

	// maxFirst is how many of them are no renewals. Those may fail again and again, as
	// where a relay lets no validation through, and each time has its place for a while.
	maxFirst = maxOrders - 1
)

// A queue lets maxOrders orders be under way at once. Those for names without a valid
// certificate, or with one that ends soon, go before renewals, which have time and a
// place of their own. Of each kind go those first that have not failed before, and of
// these the one that came first. The zero value is ready.
type queue struct {
	mu       sync.Mutex
	underWay int
	first    int      // of those under way, and no renewals
	waiting  []*place // the next one first
}

// A place is that of an order among those under way, or the wait for it.
type place struct {
	renewal bool
	rank    int           // the lowest goes first
	begins  chan struct{} // closed when the order may begin
}

// enter waits until an order may begin, or ctx ends, and reports whether it had to
// wait. Again is for an order that failed before. Without an error leave must be called
// at the order's end.
func (q *queue) enter(ctx context.Context, renewal, again bool) (leave func(), waited bool, err error) {
	p := &place{renewal: renewal, begins: make(chan struct{})}
	if renewal {
		p.rank = 2
	}
	if again {
		p.rank++
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	slices.SortStableFunc(q.waiting, func(a, b *place) int { return a.rank - b.rank })
	q.admit()
	waited = slices.Contains(q.waiting, p)
	q.mu.Unlock()
	leave = func() { q.leave(p) }
	if !waited {
		return leave, false, nil
	}
	select {
	case <-p.begins:
		return leave, true, nil
	case <-ctx.Done():
		leave()
		return nil, true, ctx.Err()
	}
}

// admit lets the next orders begin, as long as there are places.
func (q *queue) admit() {
	for q.underWay < maxOrders {
		i := slices.IndexFunc(q.waiting, func(p *place) bool { return p.renewal || q.first < maxFirst })
		if i < 0 {
			return
		}
		p := q.waiting[i]
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.underWay++
		if !p.renewal {
			q.first++
		}
		close(p.begins)
	}
}

// leave ends an order or its wait, and lets the next one begin.
func (q *queue) leave(p *place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, p); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	q.underWay--
	if !p.renewal {
		q.first--
	}
	q.admit()
}

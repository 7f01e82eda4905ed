package acme

import (
	"context"
	"sync"
)

// maxOrders is how many orders are under way at once, so that a device with
// many names does not run into the CA's limits by starting them together.
const maxOrders = 4

// A queue lets maxOrders orders be under way at once. Those for names without a valid
// certificate go before renewals, which have time; of each kind the one that came
// first. The zero value is ready.
type queue struct {
	mu       sync.Mutex
	underWay int
	first    []chan struct{} // orders that wait, each closed when it may begin
	renewals []chan struct{}
}

// enter waits until an order may begin, or ctx ends, and reports whether it had to
// wait. Without an error leave must follow.
func (q *queue) enter(ctx context.Context, renewal bool) (waited bool, err error) {
	q.mu.Lock()
	if q.underWay < maxOrders {
		q.underWay++
		q.mu.Unlock()
		return false, nil
	}
	turn := make(chan struct{})
	if renewal {
		q.renewals = append(q.renewals, turn)
	} else {
		q.first = append(q.first, turn)
	}
	q.mu.Unlock()
	select {
	case <-turn:
		return true, nil
	case <-ctx.Done():
		q.giveUp(turn)
		return true, ctx.Err()
	}
}

// giveUp takes an order out that waits no more. If it may begin by now, the next one
// gets its place.
func (q *queue) giveUp(turn chan struct{}) {
	q.mu.Lock()
	for _, list := range []*[]chan struct{}{&q.first, &q.renewals} {
		for i, other := range *list {
			if other == turn {
				*list = append((*list)[:i:i], (*list)[i+1:]...)
				q.mu.Unlock()
				return
			}
		}
	}
	q.mu.Unlock()
	q.leave()
}

// leave ends an order, and lets the next one begin.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, list := range []*[]chan struct{}{&q.first, &q.renewals} {
		if len(*list) > 0 {
			close((*list)[0])
			*list = (*list)[1:]
			return
		}
	}
	q.underWay--
}

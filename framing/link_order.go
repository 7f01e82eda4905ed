package framing

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// OrderTime is the longest turn to order a certificate, see Link.Order.
const OrderTime = 10 * time.Minute

// turns is the turns to order a certificate that a link asks for, or gives.
type turns struct {
	link *Link

	mu      sync.Mutex
	waiting map[string]chan bool // ORDERs that wait for their answer; at the remote
}

// Order asks the relay for the turn to order a certificate for a name that this
// link holds as a replica. Once it is granted, the CA's connections for the
// name come to this run alone, until OrderDone or OrderTime. A relay of minor
// version 0 knows no turns and counts as granting. Only a remote's link orders,
// and one name at a time.
func (l *Link) Order(ctx context.Context, name string) (granted bool, err error) {
	if l.peerMinor < 1 {
		return true, nil
	}
	answer := l.turns.await(name)
	l.send(orderRecord(recOrder, name, true))
	select {
	case granted = <-answer:
		return granted, nil
	case <-l.done:
		return false, fmt.Errorf("link lost: %w", l.Err())
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// OrderDone gives the turn back.
func (l *Link) OrderDone(name string) {
	if l.peerMinor >= 1 {
		l.send(orderRecord(recOrder, name, false))
	}
}

// await returns the channel that the answer to an ORDER will come on.
func (t *turns) await(name string) <-chan bool {
	answer := make(chan bool, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = make(map[string]chan bool)
	}
	t.waiting[name] = answer
	return answer
}

// handleOrder is ORDER, at the relay.
func (t *turns) handleOrder(p []byte) error {
	name, begins, err := parseOrder(p)
	if err != nil {
		return err
	}
	order := t.link.handler.Order
	granted := order != nil && order(name, begins)
	if begins {
		t.link.send(orderRecord(recOrderTurn, name, granted))
	}
	return nil
}

// handleTurn is ORDER_TURN, at the remote.
func (t *turns) handleTurn(p []byte) error {
	name, granted, err := parseOrder(p)
	if err != nil {
		return err
	}
	t.mu.Lock()
	answer := t.waiting[name]
	delete(t.waiting, name)
	t.mu.Unlock()
	if answer != nil { // nobody waits any more, if its context has ended
		answer <- granted
	}
	return nil
}

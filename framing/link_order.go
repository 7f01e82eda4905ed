package framing

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// OrderTime is the longest turn to order a certificate, see Link.Order.
const OrderTime = 10 * time.Minute

// maxUnanswered is how many ORDERs for a name may be without an answer. Beyond that none is
// sent, and its caller waits in vain.
const maxUnanswered = 8

// turns is the turns to order a certificate that a link asks for, or gives.
type turns struct {
	link *Link

	mu      sync.Mutex
	waiting map[string][]chan<- bool // ORDERs without an answer, in order; at the remote
}

// Order asks the relay for the turn to order a certificate for a name that this
// link holds as a replica. Once it is granted, the CA's connections for the
// name come to this run alone, until OrderDone or OrderTime. A relay of minor
// version 0 knows no turns and counts as granting. Only a remote's link orders.
func (l *Link) Order(ctx context.Context, name string) (granted bool, err error) {
	if l.peerMinor < 1 {
		return true, nil
	}
	answer := make(chan bool, 1)
	l.turns.ask(name, answer)
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

// ask sends an ORDER, whose answer will come on a channel. A relay answers in the order in
// which it is asked, also when nobody waits any more.
func (t *turns) ask(name string, answer chan<- bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting[name]) >= maxUnanswered {
		return
	}
	if t.waiting == nil {
		t.waiting = make(map[string][]chan<- bool)
	}
	t.waiting[name] = append(t.waiting[name], answer)
	t.link.send(orderRecord(recOrder, name, true))
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
	defer t.mu.Unlock()
	list := t.waiting[name]
	if len(list) == 0 {
		return nil
	}
	list[0] <- granted // which has room for it
	if list = list[1:]; len(list) > 0 {
		t.waiting[name] = list
	} else {
		delete(t.waiting, name)
	}
	return nil
}

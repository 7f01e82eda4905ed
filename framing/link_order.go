package framing

import (
	"context"
	"fmt"
	"time"
)

// OrderTime is the longest turn to order a certificate, see Link.Order.
const OrderTime = 10 * time.Minute

// Order asks the relay for the turn to order a certificate for a name that this
// link holds as a replica. Once it is granted, the CA's connections for the
// name come to this run alone, until OrderDone or OrderTime. A relay of minor
// version 0 knows no turns and counts as granting. Only a remote's link orders,
// and one name at a time.
func (l *Link) Order(ctx context.Context, name string) (granted bool, err error) {
	if l.peerMinor < 1 {
		return true, nil
	}
	answer := make(chan bool, 1)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return false, fmt.Errorf("link lost: %w", l.err)
	}
	if l.naming.turns == nil {
		l.naming.turns = make(map[string]chan bool)
	}
	l.naming.turns[name] = answer
	l.mu.Unlock()
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

func (l *Link) handleOrder(p []byte) error {
	name, begins, err := parseOrder(p)
	if err != nil {
		return err
	}
	granted := l.handler.Order != nil && l.handler.Order(name, begins)
	if begins {
		l.send(orderRecord(recOrderTurn, name, granted))
	}
	return nil
}

func (l *Link) handleOrderTurn(p []byte) error {
	name, granted, err := parseOrder(p)
	if err != nil {
		return err
	}
	l.mu.Lock()
	answer := l.naming.turns[name]
	delete(l.naming.turns, name)
	l.mu.Unlock()
	if answer != nil { // nobody waits any more, if its context has ended
		answer <- granted
	}
	return nil
}

package framing

import "context"

func (l *Link) handleGoAway(p []byte) error {
	g, err := parseGoAway(p)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.goodbye.goingAway = true
	l.mu.Unlock()
	if l.handler.GoAway != nil {
		l.handler.GoAway(g)
	}
	l.mu.Lock()
	l.goodbye.ackDue = true
	ok := l.acknowledgeLocked()
	l.mu.Unlock()
	if !ok {
		return errTooMuchQueued
	}
	return nil
}

// acknowledgeLocked answers GOAWAY, when it is due and all that was opened
// before is on its way. It reports false when too much is queued.
func (l *Link) acknowledgeLocked() bool {
	if !l.goodbye.ackDue || l.goodbye.opening > 0 {
		return true
	}
	l.goodbye.ackDue = false
	return l.sender.send(appendRecord(nil, recGoAwayAck, nil))
}

// handleGoAwayAck notes the answer to GOAWAY. The goroutine that reads it has
// counted all that was opened before.
func (l *Link) handleGoAwayAck() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.goodbye.leaving && !l.goodbye.acked {
		l.goodbye.acked = true
		close(l.goodbye.goAwayAcked)
		l.checkLocked()
	}
}

// GoAway tells the other side that this one will be gone, and waits until it
// has acknowledged, the link is over, or ctx ends. After the acknowledgement no
// new stream arrives, and once Accept has returned those that were on their
// way, its error is ErrGoingAway. Those that are open live on.
func (l *Link) GoAway(ctx context.Context, g GoAway) error {
	l.mu.Lock()
	if !l.goodbye.leaving {
		l.goodbye.leaving = true
		l.goodbye.goAwayAcked = make(chan struct{})
	}
	acked := l.goodbye.goAwayAcked
	l.mu.Unlock()
	l.send(g.record())
	select {
	case <-acked:
		return nil
	case <-l.done:
		return l.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

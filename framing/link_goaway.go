package framing

import "context"

// A goodbye is what a table knows of the end of its link in good order, after which
// no stream is opened. It is guarded by table.mu.
type goodbye struct {
	goingAway bool          // no new streams: GOAWAY was received
	opening   int           // streams whose SYN is not queued yet; at the relay
	ackDue    bool          // GOAWAY is acknowledged when opening is 0
	leaving   bool          // GOAWAY was sent
	answered  chan struct{} // closed by its GOAWAY_ACK; nil before GoAway
	acked     bool          // it is closed
	waiting   int           // streams whose HEADER has not come; at the remote
	drained   chan struct{} // closed when no stream will come any more after acked; at the remote
}

// GoAway tells the other side that this one will be gone, and waits until it
// has acknowledged, the link is over, or ctx ends. After the acknowledgement no
// new stream arrives, and once Accept has returned those that were on their
// way, its error is ErrGoingAway. Those that are open live on.
func (l *Link) GoAway(ctx context.Context, g GoAway) error {
	answered := l.streams.leave()
	l.send(g.record())
	select {
	case <-answered:
		return nil
	case <-l.done:
		return l.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave notes that GOAWAY is sent, and returns the channel that its answer closes.
func (t *table) leave() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.goodbye.leaving {
		t.goodbye.leaving = true
		t.goodbye.answered = make(chan struct{})
	}
	return t.goodbye.answered
}

// isLeaving reports whether GOAWAY was sent.
func (t *table) isLeaving() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.goodbye.leaving
}

// handleGoAwayAck notes the answer to GOAWAY. The goroutine that reads it has
// counted all that was opened before.
func (t *table) handleGoAwayAck() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.goodbye.leaving && !t.goodbye.acked {
		t.goodbye.acked = true
		close(t.goodbye.answered)
		t.drainLocked()
	}
	return nil
}

// drainLocked tells Accept when it has nothing to wait for.
func (t *table) drainLocked() {
	g := &t.goodbye
	if !t.link.isRelay && g.acked && g.waiting == 0 && !g.isDrained() {
		close(g.drained)
	}
}

// isDrained reports whether Accept has nothing to wait for.
func (g *goodbye) isDrained() bool {
	select {
	case <-g.drained:
		return true
	default:
		return false
	}
}

func (t *table) handleGoAway(p []byte) error {
	g, err := parseGoAway(p)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.goodbye.goingAway = true
	t.mu.Unlock()
	if told := t.link.handler.GoAway; told != nil {
		told(g)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.goodbye.ackDue = true
	if !t.acknowledgeLocked() {
		return errTooMuchQueued
	}
	return nil
}

// acknowledgeLocked answers GOAWAY, when it is due and all that was opened
// before is on its way. It reports false when too much is queued.
func (t *table) acknowledgeLocked() bool {
	if !t.goodbye.ackDue || t.goodbye.opening > 0 {
		return true
	}
	t.goodbye.ackDue = false
	return t.link.sender.send(appendRecord(nil, recGoAwayAck, nil))
}

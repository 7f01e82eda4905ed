package framing

import (
	"context"
	"errors"
	"fmt"

	"keystay/internal/hostname"
)

const (
	// MaxNames is how many names one link may hold.
	MaxNames = 64
	// maxDenied is how many claims a relay denies before it ends the link.
	maxDenied = 2 * MaxNames
)

// A naming is what a Link knows of names. It is guarded by Link.mu.
type naming struct {
	claims     []chan error // that wait for an answer, in order
	claimNames []string
	claimed    map[string]struct{}  // names that this side has asked for, granted or not
	turns      map[string]chan bool // ORDERs that wait for their answer
	names      int                  // granted, at the relay
	denied     int                  // claims that were not granted
}

// handle acts on one control record.
func (l *Link) handle(t recordType, p []byte) error {
	switch t {
	case recPing:
		return l.handlePing(p)
	case recPong:
		return l.handlePong(p)
	case recGoAway:
		return l.handleGoAway(p)
	case recGoAwayAck:
		l.handleGoAwayAck()
		return nil
	}
	if ours, err := l.handleLanes(t, p); ours {
		return err
	}
	if l.isRelay {
		switch t {
		case recClaim:
			return l.handleClaim(p)
		case recOrder:
			return l.handleOrder(p)
		}
	} else {
		switch t {
		case recClaimed:
			name, err := parseClaimed(p)
			if err != nil {
				return err
			}
			return l.answered(name, nil)
		case recDenied:
			d, err := parseDenial(p)
			if err != nil {
				return err
			}
			return l.answered(d.Name, d)
		case recLost:
			d, err := parseDenial(p)
			if err == nil && l.handler.Lost != nil && l.hasClaimed(d.Name) {
				l.handler.Lost(d)
			}
			return err
		case recOrderTurn:
			return l.handleOrderTurn(p)
		case recStartMux:
			if len(p) < 1 || p[0] != smuxVersion {
				return protocolErrorf("START_MUX of another smux version")
			}
			return l.beginMux()
		}
	}
	if t >= optional {
		return nil
	}
	return protocolErrorf("unexpected record 0x%02x", t)
}

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
	return l.sendLocked(appendRecord(nil, recGoAwayAck, nil))
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

func (l *Link) handleClaim(p []byte) error {
	c, err := parseClaim(p)
	if err != nil {
		return err
	}
	if err = l.claim(c); err == nil {
		l.send(claimedRecord(c.Name))
		return nil
	}
	if l.naming.denied > maxDenied {
		return protocolErrorf("more than %d claims were denied", maxDenied)
	}
	var d *Denial
	if !errors.As(err, &d) {
		d = &Denial{Code: DeniedUnavailable, Text: "the relay could not decide now"}
	}
	answer := *d
	answer.Name = c.Name // as it was asked for
	l.send(answer.record(recDenied))
	return nil
}

func (l *Link) claim(c Claim) error {
	if l.naming.names >= MaxNames {
		return &Denial{Code: DeniedLimit, Text: fmt.Sprintf("at most %d names on one link", MaxNames)}
	}
	if l.handler.Claim == nil {
		return &Denial{Code: DeniedClosed, Text: "no names here"}
	}
	err := l.handler.Claim(c)
	if err == nil {
		l.naming.names++
	} else {
		l.naming.denied++
	}
	return err
}

// Claim asks the relay for a name and waits for the answer. The error is a
// *Denial when the relay said no. Only a remote's link claims.
func (l *Link) Claim(ctx context.Context, c Claim) error {
	if len(c.Name) > hostname.Max || len(c.Token) > maxToken {
		return fmt.Errorf("claim a name of %d bytes with a token of %d: too long", len(c.Name), len(c.Token))
	}
	answer := make(chan error, 1)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return fmt.Errorf("link lost: %w", l.err)
	}
	l.naming.claims = append(l.naming.claims, answer)
	l.naming.claimNames = append(l.naming.claimNames, c.Name)
	if l.naming.claimed == nil {
		l.naming.claimed = make(map[string]struct{})
	}
	l.naming.claimed[c.Name] = struct{}{}
	ok := l.sendLocked(c.record())
	l.mu.Unlock()
	if !ok {
		return fmt.Errorf("claim %s: too many claims at once", c.Name)
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hasClaimed reports whether this side has claimed a name on the link. LOST may
// overtake CLAIMED, so that a claim without an answer counts.
func (l *Link) hasClaimed(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.naming.claimed[name]
	return ok
}

// answered gives the oldest claim its answer.
func (l *Link) answered(name string, d *Denial) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.naming.claims) == 0 || l.naming.claimNames[0] != name {
		return protocolErrorf("an answer to a claim that was not made")
	}
	if d != nil {
		l.naming.claims[0] <- d
	} else {
		l.naming.claims[0] <- nil
	}
	l.naming.claims, l.naming.claimNames = l.naming.claims[1:], l.naming.claimNames[1:]
	return nil
}

// Revoke takes a name back from the remote, which is told why. Only a relay's
// link revokes.
func (l *Link) Revoke(d Denial) { l.send(d.record(recLost)) }

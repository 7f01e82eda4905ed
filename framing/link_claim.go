package framing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

const (
	// MaxNames is how many names one link may hold.
	MaxNames = 1024
	// MaxAsked is how many claims, releases and unclaims may wait for their answers
	// on one link.
	MaxAsked = 64
	// maxDenied is how many claims a relay denies before it ends the link.
	maxDenied = 2 * MaxNames
)

// claims is what a relay's link knows of names.
type claims struct {
	link *Link

	mu        sync.Mutex
	answering *answering // while claims wait for an answer
	granted   []string
	denied    int // claims that were not granted
}

// An answering is what is asked on a link and waits for its answer, the first of
// which is being decided about.
type answering struct {
	waiting []asked
	stop    context.CancelFunc // ends the handler's context
}

// An asked is a CLAIM, RELEASE or UNCLAIM.
type asked struct {
	kind  recordType
	claim Claim // of the others the name alone
}

// handleAsked queues a CLAIM, RELEASE or UNCLAIM. A relay may take seconds for the answer,
// so it is not decided on the goroutine that reads, but in order on one that lives
// while any wait.
func (c *claims) handleAsked(t recordType, p []byte) error {
	a := asked{kind: t}
	var err error
	if t == recClaim {
		a.claim, err = parseClaim(p, c.link.peerMinor)
	} else {
		a.claim.Name, err = parseName(p)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.answering
	switch {
	case c.link.isOver(): // nobody would end the goroutine
		return c.link.Err()
	case q == nil:
		ctx, stop := context.WithCancel(context.Background())
		q = &answering{stop: stop}
		c.answering = q
		go c.answerAsked(ctx, q)
	case len(q.waiting) >= MaxAsked:
		return protocolErrorf("more than %d claims wait for an answer", MaxAsked)
	}
	q.waiting = append(q.waiting, a)
	return nil
}

// answerAsked answers what waits, until nothing does or the link is over.
func (c *claims) answerAsked(ctx context.Context, q *answering) {
	defer c.link.handler.Panics.Catch("answering a claim", c.link.panicked)
	defer q.stop()
	for {
		c.mu.Lock()
		if len(q.waiting) == 0 || c.link.isOver() {
			c.answering = nil
			c.mu.Unlock()
			return
		}
		a := q.waiting[0]
		c.mu.Unlock()
		switch a.kind {
		case recRelease:
			c.answerRelease(ctx, a.claim.Name)
		case recUnclaim:
			c.answerUnclaim(a.claim.Name)
		default:
			if err := c.answerClaim(ctx, a.claim); err != nil {
				c.link.fail(err)
			}
		}
		c.mu.Lock()
		q.waiting = q.waiting[1:]
		c.mu.Unlock()
	}
}

// answerClaim decides about a claim and answers it. An error ends the link.
func (c *claims) answerClaim(ctx context.Context, asked Claim) error {
	granted, err := c.decide(ctx, asked)
	if err == nil {
		c.link.send(granted.record(asked.Name))
		return nil
	}
	c.mu.Lock()
	denied := c.denied
	c.mu.Unlock()
	if denied > maxDenied {
		return protocolErrorf("more than %d claims were denied", maxDenied)
	}
	var d *Denial
	if !errors.As(err, &d) {
		d = &Denial{Code: DeniedUnavailable, Text: "the relay could not decide now"}
	}
	answer := *d
	answer.Name = asked.Name // as it was asked for
	c.link.send(answer.record(recDenied))
	return nil
}

// decide asks the handler whether a claim is granted.
func (c *claims) decide(ctx context.Context, asked Claim) (Claimed, error) {
	c.mu.Lock()
	again := slices.Contains(c.granted, asked.Name)
	full := !again && len(c.granted) >= MaxNames
	c.mu.Unlock()
	switch {
	case full:
		return Claimed{}, &Denial{Code: DeniedLimit, Text: fmt.Sprintf("at most %d names on one link", MaxNames)}
	case c.link.handler.Claim == nil:
		return Claimed{}, &Denial{Code: DeniedClosed, Text: "no names here"}
	}
	granted, err := c.link.handler.Claim(ctx, asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.denied++
	case !slices.Contains(c.granted, asked.Name):
		c.granted = append(c.granted, asked.Name)
	}
	return granted, err
}

func (c *claims) answerRelease(ctx context.Context, name string) {
	not := &NotReleased{Text: "this relay takes no names back"}
	if c.link.handler.Release != nil {
		switch err := c.link.handler.Release(ctx, name); {
		case err == nil:
			not = nil
			c.forget(name)
		case !errors.As(err, &not):
			not = &NotReleased{Text: "the relay could not do it now", Later: true}
		}
	}
	c.link.send(releasedRecord(name, not))
}

// answerUnclaim takes a name off this link, and says so.
func (c *claims) answerUnclaim(name string) {
	if f := c.link.handler.Unclaim; f != nil {
		f(name)
	}
	c.forget(name)
	c.link.send(nameRecord(recUnclaimed, name))
}

// forget takes a name out of those that this link holds, and reports whether it was one.
func (c *claims) forget(name string) (held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.granted, name)
	if i >= 0 {
		c.granted = slices.Delete(c.granted, i, i+1)
	}
	return i >= 0
}

// linkLost ends the context of the handler's claims.
func (c *claims) linkLost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answering != nil {
		c.answering.stop()
	}
}

// Revoke takes a name back from the remote, which is told why. Only a relay's
// link revokes.
func (l *Link) Revoke(d Denial) {
	rec := d.lostRecord()
	if !l.claims.forget(d.Name) {
		l.send(rec)
	} else if !l.sender.sendLost(rec) {
		l.fail(errTooMuchQueued)
	}
}

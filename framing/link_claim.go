package framing

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxNames is how many names one link may hold, and how many claims and
	// releases may wait for their answers on it.
	MaxNames = 64
	// maxDenied is how many claims a relay denies before it ends the link.
	maxDenied = 2 * MaxNames
)

// A naming is what a Link knows of names. It is guarded by Link.mu.
type naming struct {
	// At the remote:
	asks    []ask                // that wait for an answer, in order
	claimed map[string]struct{}  // names that this side has asked for, granted or not
	turns   map[string]chan bool // ORDERs that wait for their answer
	// At the relay:
	answering *answering // while claims wait for an answer
	granted   []string
	denied    int // claims that were not granted
}

// An answering is the claims and releases of a link that wait for their answer,
// the first of which is being decided about.
type answering struct {
	waiting []asked
	stop    context.CancelFunc // ends the handler's context
}

// An asked is a CLAIM or RELEASE.
type asked struct {
	release bool // of claim.Name
	claim   Claim
}

// handleAsked queues a CLAIM or RELEASE. A relay may take seconds for the answer,
// so it is not decided on the goroutine that reads, but in order on one that lives
// while any wait.
func (l *Link) handleAsked(t recordType, p []byte) error {
	a := asked{release: t == recRelease}
	var err error
	if a.release {
		a.claim.Name, err = parseRelease(p)
	} else {
		a.claim, err = parseClaim(p, l.peerMinor)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.naming.answering
	switch {
	case l.err != nil: // nobody would end the goroutine
		return l.err
	case q == nil:
		ctx, stop := context.WithCancel(context.Background())
		q = &answering{stop: stop}
		l.naming.answering = q
		go l.answerAsked(ctx, q)
	case len(q.waiting) >= MaxNames:
		return protocolErrorf("more than %d claims wait for an answer", MaxNames)
	}
	q.waiting = append(q.waiting, a)
	return nil
}

// answerAsked answers what waits, until nothing does or the link is over.
func (l *Link) answerAsked(ctx context.Context, q *answering) {
	defer l.handler.Panics.Catch("answering a claim", l.panicked)
	defer q.stop()
	for {
		l.mu.Lock()
		if len(q.waiting) == 0 || l.err != nil {
			l.naming.answering = nil
			l.mu.Unlock()
			return
		}
		a := q.waiting[0]
		l.mu.Unlock()
		if a.release {
			l.answerRelease(ctx, a.claim.Name)
		} else if err := l.answerClaim(ctx, a.claim); err != nil {
			l.fail(err)
		}
		l.mu.Lock()
		q.waiting = q.waiting[1:]
		l.mu.Unlock()
	}
}

// answerClaim decides about a claim and answers it. An error ends the link.
func (l *Link) answerClaim(ctx context.Context, c Claim) error {
	granted, err := l.claim(ctx, c)
	if err == nil {
		l.send(granted.record(c.Name))
		return nil
	}
	l.mu.Lock()
	denied := l.naming.denied
	l.mu.Unlock()
	if denied > maxDenied {
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

func (l *Link) claim(ctx context.Context, c Claim) (Claimed, error) {
	l.mu.Lock()
	again := slices.Contains(l.naming.granted, c.Name)
	full := !again && len(l.naming.granted) >= MaxNames
	l.mu.Unlock()
	switch {
	case full:
		return Claimed{}, &Denial{Code: DeniedLimit, Text: fmt.Sprintf("at most %d names on one link", MaxNames)}
	case l.handler.Claim == nil:
		return Claimed{}, &Denial{Code: DeniedClosed, Text: "no names here"}
	}
	granted, err := l.handler.Claim(ctx, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.naming.denied++
	case !slices.Contains(l.naming.granted, c.Name):
		l.naming.granted = append(l.naming.granted, c.Name)
	}
	return granted, err
}

func (l *Link) answerRelease(ctx context.Context, name string) {
	not := &NotReleased{Text: "this relay takes no names back"}
	if l.handler.Release != nil {
		switch err := l.handler.Release(ctx, name); {
		case err == nil:
			not = nil
			l.forget(name)
		case !errors.As(err, &not):
			not = &NotReleased{Text: "the relay could not do it now", Later: true}
		}
	}
	l.send(releasedRecord(name, not))
}

// forget takes a name out of those that this link holds.
func (l *Link) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.naming.granted, name); i >= 0 {
		l.naming.granted = slices.Delete(l.naming.granted, i, i+1)
	}
}

// Revoke takes a name back from the remote, which is told why. Only a relay's
// link revokes.
func (l *Link) Revoke(d Denial) {
	l.forget(d.Name)
	l.send(d.record(recLost))
}

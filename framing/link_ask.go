package framing

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"keystay/internal/hostname"
)

// ErrNoRelease is the error of giving a name back to a relay of a minor version
// before 2, which cannot be told.
var ErrNoRelease = errors.New("the relay is too old to be told that a name is given back")

// An ask is a CLAIM or RELEASE that waits for its answer.
type ask struct {
	name    string
	release bool
	answer  chan answer // has room for the answer
}

// An answer is what CLAIMED, DENIED or RELEASED says, or why none came.
type answer struct {
	claimed Claimed
	err     error
}

// asks is the claims and releases of a remote's link.
type asks struct {
	link *Link

	mu      sync.Mutex
	waiting []ask               // for an answer, in order
	claimed map[string]struct{} // names that this side has asked for, granted or not
}

// Claim asks the relay for a name and waits for the answer. The error is a
// *Denial when the relay said no. A name that was granted may be claimed again,
// as with other rules. At most MaxNames claims and releases may wait at once.
// Only a remote's link claims.
func (l *Link) Claim(ctx context.Context, c Claim) (Claimed, error) {
	if len(c.Name) > hostname.Max || len(c.Token) > maxToken {
		return Claimed{}, fmt.Errorf("claim a name of %d bytes with a token of %d: too long", len(c.Name), len(c.Token))
	}
	if err := c.Rules.Check(); err != nil {
		return Claimed{}, fmt.Errorf("claim %s: %w", c.Name, err)
	}
	if len(c.Handovers) > MaxHandovers {
		return Claimed{}, fmt.Errorf("claim %s with %d hand-overs, at most %d", c.Name, len(c.Handovers), MaxHandovers)
	}
	return l.asks.ask(ctx, ask{name: c.Name}, c.record())
}

// Release gives a name back that belongs to this identity. The error is a
// *NotReleased when the relay said no, and [ErrNoRelease] when it is too old. Only
// a remote's link releases.
func (l *Link) Release(ctx context.Context, name string) error {
	if len(name) > hostname.Max {
		return fmt.Errorf("release a name of %d bytes: too long", len(name))
	}
	if l.peerMinor < 2 {
		return fmt.Errorf("release %s: %w", name, ErrNoRelease)
	}
	_, err := l.asks.ask(ctx, ask{name: name, release: true}, releaseRecord(name))
	return err
}

// ask sends a CLAIM or RELEASE and waits for its answer.
func (q *asks) ask(ctx context.Context, a ask, record []byte) (Claimed, error) {
	a.answer = make(chan answer, 1)
	if err := q.send(a, record); err != nil {
		return Claimed{}, err
	}
	select {
	case got := <-a.answer:
		return got.claimed, got.err
	case <-ctx.Done():
		return Claimed{}, ctx.Err()
	}
}

func (q *asks) send(a ask, record []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.link.isOver() {
		return fmt.Errorf("link lost: %w", q.link.Err())
	}
	if len(q.waiting) >= MaxNames || !q.link.sender.send(record) {
		return fmt.Errorf("ask for %s: too many claims at once", a.name)
	}
	q.waiting = append(q.waiting, a)
	if !a.release {
		if q.claimed == nil {
			q.claimed = make(map[string]struct{})
		}
		q.claimed[a.name] = struct{}{}
	}
	return nil
}

// handleAnswer acts on CLAIMED, DENIED and RELEASED.
func (q *asks) handleAnswer(t recordType, p []byte) (err error) {
	var name string
	var got answer
	switch t {
	case recClaimed:
		name, got.claimed, err = parseClaimed(p, q.link.peerMinor)
	case recDenied:
		var d *Denial
		if d, err = parseDenial(p, q.link.peerMinor); err == nil {
			name, got.err = d.Name, d
		}
	case recReleased:
		var not *NotReleased
		if name, not, err = parseReleased(p); not != nil {
			got.err = not
		}
	}
	if err != nil {
		return err
	}
	return q.answered(name, t == recReleased, got)
}

// answered gives the oldest ask its answer.
func (q *asks) answered(name string, release bool, got answer) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || q.waiting[0].name != name || q.waiting[0].release != release {
		return protocolErrorf("an answer to a claim or release that was not made")
	}
	q.waiting[0].answer <- got
	q.waiting = q.waiting[1:]
	if release && got.err == nil {
		delete(q.claimed, name)
	}
	return nil
}

// handleLost is LOST. It may overtake CLAIMED, so that a claim without an answer
// counts.
func (q *asks) handleLost(p []byte) error {
	d, err := parseDenial(p, q.link.peerMinor)
	if err != nil {
		return err
	}
	q.mu.Lock()
	_, claimed := q.claimed[d.Name]
	q.mu.Unlock()
	if lost := q.link.handler.Lost; claimed && lost != nil {
		lost(d)
	}
	return nil
}

// linkLost answers what still waits, on a link that is over.
func (q *asks) linkLost(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.waiting {
		a.answer <- answer{err: fmt.Errorf("link lost: %w", err)}
	}
	q.waiting = nil
}

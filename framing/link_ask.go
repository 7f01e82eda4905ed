package framing

import (
	"context"
	"errors"
	"fmt"

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

// Claim asks the relay for a name and waits for the answer. The error is a
// *Denial when the relay said no. A name that was granted may be claimed again,
// as with other rules. At most MaxNames claims and releases may wait at once.
// Only a remote's link claims.
func (l *Link) Claim(ctx context.Context, c Claim) (Claimed, error) {
	if len(c.Name) > hostname.Max || len(c.Token) > maxToken {
		return Claimed{}, fmt.Errorf("claim a name of %d bytes with a token of %d: too long", len(c.Name), len(c.Token))
	}
	if err := c.Rules.check(); err != nil {
		return Claimed{}, fmt.Errorf("claim %s: %w", c.Name, err)
	}
	return l.ask(ctx, ask{name: c.Name}, c.record())
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
	_, err := l.ask(ctx, ask{name: name, release: true}, releaseRecord(name))
	return err
}

// ask sends a CLAIM or RELEASE and waits for its answer.
func (l *Link) ask(ctx context.Context, a ask, record []byte) (Claimed, error) {
	a.answer = make(chan answer, 1)
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return Claimed{}, fmt.Errorf("link lost: %w", l.err)
	}
	sent := len(l.naming.asks) < MaxNames && l.sender.send(record)
	if sent {
		l.naming.asks = append(l.naming.asks, a)
		if !a.release {
			if l.naming.claimed == nil {
				l.naming.claimed = make(map[string]struct{})
			}
			l.naming.claimed[a.name] = struct{}{}
		}
	}
	l.mu.Unlock()
	if !sent {
		return Claimed{}, fmt.Errorf("ask for %s: too many claims at once", a.name)
	}
	select {
	case got := <-a.answer:
		return got.claimed, got.err
	case <-ctx.Done():
		return Claimed{}, ctx.Err()
	}
}

// handleAnswer acts on CLAIMED, DENIED and RELEASED.
func (l *Link) handleAnswer(t recordType, p []byte) (err error) {
	var name string
	var got answer
	switch t {
	case recClaimed:
		name, got.claimed, err = parseClaimed(p, l.peerMinor)
	case recDenied:
		var d *Denial
		if d, err = parseDenial(p, l.peerMinor); err == nil {
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
	return l.answered(name, t == recReleased, got)
}

// answered gives the oldest ask its answer.
func (l *Link) answered(name string, release bool, got answer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.naming.asks) == 0 || l.naming.asks[0].name != name || l.naming.asks[0].release != release {
		return protocolErrorf("an answer to a claim or release that was not made")
	}
	l.naming.asks[0].answer <- got
	l.naming.asks = l.naming.asks[1:]
	if release && got.err == nil {
		delete(l.naming.claimed, name)
	}
	return nil
}

// hasClaimed reports whether this side has claimed a name on the link. LOST may
// overtake CLAIMED, so that a claim without an answer counts.
func (l *Link) hasClaimed(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.naming.claimed[name]
	return ok
}

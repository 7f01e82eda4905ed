package framing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"keystay/internal/hostname"
)

// ErrNoRelease is the error of giving a name back to a relay of a minor version
// before 2, which cannot be told.
var ErrNoRelease = errors.New("the relay is too old to be told that a name is given back")

// ErrNoUnclaim is the error of taking a name off a link to a relay of a minor version
// before 3, which cannot be told.
var ErrNoUnclaim = errors.New("the relay is too old to be told that a name is served here no more")

// maxOwnAsked is how many claims, releases and unclaims a remote lets wait: one less
// than may, since a relay may have answered one and not have counted it yet.
const maxOwnAsked = MaxAsked - 1

// An ask is a CLAIM, RELEASE or UNCLAIM that waits for its answer.
type ask struct {
	kind   recordType
	name   string
	deaf   bool        // to LOST: one has come, or nobody waits any more; guarded by asks.mu
	answer chan answer // has room for the answer
}

// An answer is what CLAIMED, DENIED, RELEASED or UNCLAIMED says, or why none came.
type answer struct {
	claimed Claimed
	err     error
}

// asks is the claims, releases and unclaims of a remote's link.
type asks struct {
	link   *Link
	most   int           // names on the link
	places chan struct{} // has one for each ask that waits

	mu      sync.Mutex
	pace    meter
	waiting []*ask              // for an answer, in order
	granted map[string]struct{} // names that the link has
}

// Claim asks the relay for a name and waits for the answer. The error is a
// *Denial when the relay said no, or when the link has as many names as the relay
// lets it have. A name that was granted may be claimed again, as with other rules.
// Many may claim at once: fewer than MaxAsked are on their way, and the others
// wait, as do those that would be a flood. Only a remote's link claims.
func (l *Link) Claim(ctx context.Context, c Claim) (Claimed, error) {
	if len(c.Name) > hostname.Max || len(c.Token) > maxToken || len(c.Word) > maxWord {
		return Claimed{}, fmt.Errorf("claim a name of %d bytes with a token of %d and a word of %d: too long", len(c.Name), len(c.Token), len(c.Word))
	}
	if err := c.Rules.Check(); err != nil {
		return Claimed{}, fmt.Errorf("claim %s: %w", c.Name, err)
	}
	if err := checkSiblings(c.Siblings); err != nil {
		return Claimed{}, fmt.Errorf("claim %s: %w", c.Name, err)
	}
	if len(c.Handovers) > MaxHandovers {
		return Claimed{}, fmt.Errorf("claim %s with %d hand-overs, at most %d", c.Name, len(c.Handovers), MaxHandovers)
	}
	if c.Word != "" && l.peerMinor < 3 {
		return Claimed{}, &Denial{Name: c.Name, Code: DeniedUnavailable, Text: "the relay is too old for a name made from the key and a word"}
	}
	if isPortName(c.Name) && !l.ports {
		return Claimed{}, &Denial{Name: c.Name, Code: DeniedInvalid, Text: "this relay gives out no TCP ports"}
	}
	return l.asks.ask(ctx, &ask{kind: recClaim, name: c.Name}, c.record(l.peerMinor))
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
	_, err := l.asks.ask(ctx, &ask{kind: recRelease, name: name}, nameRecord(recRelease, name))
	return err
}

// Unclaim takes a name off this link: once it has returned nil, the relay sends no
// visitor of it here any more, but for those that were being sent. The identity keeps
// the name. The error is [ErrNoUnclaim] when the relay is too old. Only a remote's
// link unclaims.
func (l *Link) Unclaim(ctx context.Context, name string) error {
	if l.peerMinor < 3 {
		return fmt.Errorf("unclaim %s: %w", name, ErrNoUnclaim)
	}
	_, err := l.asks.ask(ctx, &ask{kind: recUnclaim, name: name}, nameRecord(recUnclaim, name))
	return err
}

// ask sends a CLAIM, RELEASE or UNCLAIM and waits for its answer.
func (q *asks) ask(ctx context.Context, a *ask, record []byte) (Claimed, error) {
	a.answer = make(chan answer, 1)
	select {
	case q.places <- struct{}{}: // given back with the answer
	case <-q.link.done:
		return Claimed{}, fmt.Errorf("link lost: %w", q.link.Err())
	case <-ctx.Done():
		return Claimed{}, ctx.Err()
	}
	if err := q.slow(ctx); err != nil {
		<-q.places
		return Claimed{}, err
	}
	if err := q.send(a, record); err != nil {
		<-q.places
		return Claimed{}, err
	}
	select {
	case got := <-a.answer:
		return got.claimed, got.err
	case <-ctx.Done():
		q.giveUp(a)
		return Claimed{}, ctx.Err()
	}
}

// giveUp notes that nobody waits any more for an answer, which may still come.
func (q *asks) giveUp(a *ask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.deaf = true
}

// slow waits as long as an ask would be part of a flood for the relay.
func (q *asks) slow(ctx context.Context) error {
	burst, rate := float64(MaxNames), float64(askRate)
	if q.link.peerMinor < 3 { // which counts it as 5 of 400 points, of which 20 a second grow back
		burst, rate = oldMaxNames, 3
	}
	q.mu.Lock()
	wait := q.pace.until(1, burst, rate, q.link.now())
	q.mu.Unlock()
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-q.link.done:
		return fmt.Errorf("link lost: %w", q.link.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *asks) send(a *ask, record []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.link.isOver() {
		return fmt.Errorf("link lost: %w", q.link.Err())
	}
	if a.kind == recClaim && !q.has(a.name) && len(q.granted)+q.claiming() >= q.most {
		return &Denial{Name: a.name, Code: DeniedLimit, Text: q.full()}
	}
	if !q.link.sender.send(record) {
		return fmt.Errorf("ask for %s: %w", a.name, errTooMuchQueued)
	}
	q.waiting = append(q.waiting, a)
	return nil
}

// full says that the link has no room for one more name.
func (q *asks) full() string {
	text := fmt.Sprintf("at most %d names on one link", q.most)
	if q.link.peerMinor < 3 {
		text += " of this relay, which is older than this program"
	}
	return text
}

// has reports whether a name is the link's, or asked for.
func (q *asks) has(name string) bool {
	_, has := q.granted[name]
	return has || slices.ContainsFunc(q.waiting, func(a *ask) bool { return a.kind == recClaim && a.name == name })
}

// claiming is how many names are asked for that the link does not have.
func (q *asks) claiming() (n int) {
	for _, a := range q.waiting {
		if _, has := q.granted[a.name]; a.kind == recClaim && !has {
			n++
		}
	}
	return n
}

// handleAnswer acts on CLAIMED, DENIED, RELEASED and UNCLAIMED.
func (q *asks) handleAnswer(t recordType, p []byte) (err error) {
	var name string
	var got answer
	kind := recClaim
	switch t {
	case recClaimed:
		name, got.claimed, err = parseClaimed(p, q.link.peerMinor, q.link.ports)
	case recDenied:
		var d *Denial
		if d, err = parseDenial(p, q.link.peerMinor); err == nil {
			name, got.err = d.Name, d
		}
	case recReleased:
		kind = recRelease
		var not *NotReleased
		if name, not, err = parseReleased(p); not != nil {
			got.err = not
		}
	case recUnclaimed:
		kind = recUnclaim
		name, err = parseName(p)
	}
	if err != nil {
		return err
	}
	return q.answered(kind, name, got)
}

// answered gives the oldest ask its answer.
func (q *asks) answered(kind recordType, name string, got answer) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 || q.waiting[0].name != name || q.waiting[0].kind != kind {
		return protocolErrorf("an answer to a claim or release that was not made")
	}
	q.waiting[0].answer <- got
	q.waiting = q.waiting[1:]
	<-q.places
	switch {
	case got.err != nil:
	case kind != recClaim:
		delete(q.granted, name)
	default:
		if q.granted == nil {
			q.granted = make(map[string]struct{})
		}
		q.granted[name] = struct{}{}
	}
	return nil
}

// handleLost is LOST. It may overtake CLAIMED, so that a claim without an answer
// counts, once: Handler.Lost is called no more often than names were asked for and given.
// Such a LOST costs no points, since the claim has paid for it: a relay may have to take
// back all names of a link at once. Any other one costs as much as a record does.
func (q *asks) handleLost(p []byte) error {
	d, err := parseDenial(p, q.link.peerMinor)
	if err != nil {
		return err
	}
	if !q.lose(d.Name) {
		return q.link.reader.charge(recLost, 1)
	}
	if lost := q.link.handler.Lost; lost != nil {
		lost(d)
	}
	return nil
}

// lose reports whether the link has a name, or may be about to have it, and notes that it
// is lost.
func (q *asks) lose(name string) (had bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, had = q.granted[name]
	delete(q.granted, name)
	for _, a := range q.waiting {
		if a.kind == recClaim && a.name == name && !a.deaf {
			had, a.deaf = true, true
		}
	}
	return had
}

// linkLost answers what still waits, on a link that is over.
func (q *asks) linkLost(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.waiting {
		a.answer <- answer{err: fmt.Errorf("link lost: %w", err)}
		<-q.places
	}
	q.waiting = nil
}

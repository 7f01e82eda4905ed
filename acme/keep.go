package acme

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"keystay/internal/hint"
)

const (
	// checkInterval is the longest sleep between two looks at a certificate.
	// Timers stand still while a machine sleeps, so the clock is asked.
	checkInterval = 10 * time.Minute

	// orderTimeout bounds one order from its lock to its certificate.
	orderTimeout = 5 * time.Minute

	// readyAgain is how long an order that may begin waits for Config.Ready, which it
	// has waited for before. Meanwhile it holds others up.
	readyAgain = 2 * time.Second

	// turnSoon is how long an order that may begin waits for Config.Turn, before it lets
	// others begin and waits on.
	turnSoon = 5 * time.Second

	// minAge is how old a certificate is before its CA's advice can have it
	// renewed, for one whose lifetime is long; half the lifetime for others.
	// CAs date certificates an hour back. It bounds what a CA whose advice
	// is always "now" can make a device order.
	minAge = 2 * time.Hour

	// minARIPoll and maxARIPoll bound how often the CA's advice is asked for
	// again (RFC 9773 section 4.3.2).
	minARIPoll = time.Minute
	maxARIPoll = 24 * time.Hour

	// ariTimeout bounds one such question.
	ariTimeout = time.Minute
)

// entry is a managed name.
type entry struct {
	name string
	kick chan struct{}   // holds one
	done <-chan struct{} // closed when the name is managed no more
	stop context.CancelFunc

	mu      sync.Mutex
	cur     *stored       // nil for none; may have expired
	changed chan struct{} // closed when cur is replaced
}

// newEntry returns the entry of a name that is managed until done is closed,
// which stop does.
func newEntry(name string, done <-chan struct{}, stop context.CancelFunc) *entry {
	return &entry{name: name, kick: make(chan struct{}, 1), done: done, stop: stop, changed: make(chan struct{})}
}

// state returns the certificate of the name and a channel that is closed when there
// is another.
func (e *entry) state() (*stored, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cur, e.changed
}

// set replaces the certificate of the name.
func (e *entry) set(cur *stored) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cur = cur
	close(e.changed)
	e.changed = make(chan struct{})
}

// due returns when s is to be replaced and why. A time not after now means now.
func due(s *stored, now time.Time) (why string, at time.Time) {
	switch {
	case s == nil:
		return "no certificate yet", now
	case !s.valid(now):
		return "the certificate expired on " + s.cert.Leaf.NotAfter.Format(time.RFC3339), now
	}
	if s.other {
		return "another kind of key is wanted", now
	}
	leaf := s.cert.Leaf
	lifetime := s.lifetime()
	at = leaf.NotAfter.Add(-lifetime / 3)
	if t := s.ari.SelectedTime; !t.IsZero() && t.Before(at) {
		at = t
		if floor := leaf.NotBefore.Add(min(lifetime/2, minAge)); at.Before(floor) {
			at = floor
		}
	}
	return "due for renewal", at
}

// keep renews the certificate for e until ctx ends.
func (k *Keeper) keep(ctx context.Context, e *entry) {
	if cur, _ := e.state(); cur.valid(time.Now()) {
		k.announce(e, cur, Loaded)
	}
	tries := make([]backoff, len(k.issuers))
	var kicked kicks
	var told toldHold
	var ariNext time.Time
	for ctx.Err() == nil {
		cur, _ := e.state()
		why, at := due(cur, time.Now())
		wait := max(time.Until(at), time.Until(k.soonest(e, cur, tries)))
		if wait <= 0 {
			err := k.order(ctx, e, why, tries)
			if !failedBefore(tries) {
				kicked = kicks{}
			}
			if err != nil && ctx.Err() == nil && !errors.As(err, new(*HeldError)) {
				k.failed(e, cur, why, err, tries)
			}
			continue
		}
		if held := k.holding(e, cur, tries); held != nil && time.Until(at) <= 0 {
			k.held(why, held, &told)
		}
		if cur.valid(time.Now()) && cur.ari.NeedsRefresh() && !time.Now().Before(ariNext) {
			ariNext = time.Now().Add(k.refresh(ctx, e, cur))
			continue
		}
		timer := time.NewTimer(min(wait, checkInterval))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-e.kick:
			kicked.kick(tries)
		}
		timer.Stop()
	}
}

// failed notes that no CA gave a certificate.
func (k *Keeper) failed(e *entry, cur *stored, why string, err error, tries []backoff) {
	ev := Event{Kind: Failed, Name: e.name, Why: why, Err: err, Next: k.soonest(e, cur, tries)}
	if cur.valid(time.Now()) {
		ev.NotAfter = cur.cert.Leaf.NotAfter
	}
	k.log.Warn("no certificate obtained", "name", e.name, "why", why, "error", err,
		"next", time.Until(ev.Next).Round(time.Second).String()+", or at once after a restart", hint.Attr(hint.All(err)))
	k.notify(ev)
}

// order obtains a certificate for e, once validation can arrive. After an error
// the backoffs say when to try again.
func (k *Keeper) order(ctx context.Context, e *entry, why string, tries []backoff) error {
	if k.cfg.Ready != nil {
		k.notify(Event{Kind: Waiting, Name: e.name, Why: why})
	}
	leave, err := k.beginInTurn(ctx, e, failedBefore(tries))
	if err != nil {
		return failAll(tries, err)
	}
	defer leave()
	lock := "order_" + e.name
	locking, cancel := context.WithTimeout(ctx, time.Duration(len(tries))*orderTimeout)
	defer cancel()
	if err := k.store.Lock(locking, lock); err != nil {
		return failAll(tries, err)
	}
	defer k.store.Unlock(ctx, lock)
	return k.obtain(ctx, e, why, tries)
}

// beginInTurn is begin, and waits for Config.Turn. A turn that does not come soon is waited
// for without a place among the orders that are under way, so that it holds up no others.
func (k *Keeper) beginInTurn(ctx context.Context, e *entry, again bool) (leave func(), err error) {
	leave, err = k.begin(ctx, e, again)
	if err != nil || k.cfg.Turn == nil {
		return leave, err
	}
	soon, cancel := context.WithTimeout(ctx, turnSoon)
	err = k.turn(soon, e)
	late := soon.Err() != nil
	cancel()
	if err == nil && !late {
		return leave, nil
	}
	leave()
	if !late {
		return nil, err
	}
	if err := k.turn(ctx, e); err != nil {
		return nil, err
	}
	return k.begin(ctx, e, again)
}

// turn is Config.Turn.
func (k *Keeper) turn(ctx context.Context, e *entry) error {
	if err := k.cfg.Turn(ctx, e.name); err != nil {
		return fmt.Errorf("wait for the turn to order: %w", err)
	}
	return nil
}

// begin waits until validation of e can arrive and an order may begin, which is queue.enter.
func (k *Keeper) begin(ctx context.Context, e *entry, again bool) (leave func(), err error) {
	for ctx.Err() == nil {
		if err := k.ready(ctx, e); err != nil {
			return nil, err
		}
		cur, _ := e.state()
		now := time.Now()
		leave, waited, err := k.queue.enter(ctx, cur.valid(now) && !cur.runsOut(now), again)
		if err != nil || !waited {
			return leave, err
		}
		// Validation may not be possible any more.
		still, cancel := context.WithTimeout(ctx, readyAgain)
		err = k.ready(still, e)
		late := still.Err() != nil
		cancel()
		if err == nil {
			return leave, nil
		}
		leave()
		if !late {
			return nil, err
		}
		again = true // it would hold others up again and again
	}
	return nil, ctx.Err()
}

// ready is Config.Ready.
func (k *Keeper) ready(ctx context.Context, e *entry) error {
	if k.cfg.Ready == nil {
		return nil
	}
	if err := k.cfg.Ready(ctx, e.name); err != nil {
		return fmt.Errorf("wait for validation to be possible: %w", err)
	}
	return nil
}

// obtain orders a certificate for e, or takes one that is in the folder by
// now. The lock for the name is held.
func (k *Keeper) obtain(ctx context.Context, e *entry, why string, tries []backoff) error {
	old, err := k.tidy(ctx, e.name)
	if err != nil {
		return failAll(tries, err)
	}
	cur, _ := e.state() // by which keep decides
	if _, at := due(old, time.Now()); at.After(time.Now()) {
		// Another process on the same folder has been faster.
		if cur == nil || !cur.cert.Leaf.Equal(old.cert.Leaf) {
			clear(tries)
			k.announce(e, old, Loaded)
			return nil
		}
	}
	if held := k.holding(e, cur, tries); held != nil {
		return held // what holds is known since Ready
	}
	var failed failures
	for n, i := range k.issuers {
		if time.Until(tries[n].next) > 0 {
			continue
		}
		if until := k.heldUntil(e, cur, n); time.Until(until) > 0 { // so there is another one
			k.log.Warn("the next CA is asked", "name", e.name, "error", &HeldError{Name: e.name, Until: until})
			continue
		}
		err := k.obtainAt(ctx, e, why, i, old, &tries[n])
		if err == nil {
			clear(tries)
			return nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
		tries[n].fail(err, old.lifetime())
		if errors.As(err, new(*FileError)) {
			break // which no other CA would do better
		}
		if errors.As(err, new(*RehearsalError)) { // nor would one find this device
			failDue(tries[n+1:], err)
			break
		}
		if n+1 < len(k.issuers) {
			k.log.Warn("the next CA is asked", "name", e.name, "error", err, hint.Attr(hint.All(err)))
		}
	}
	switch len(failed) {
	case 0: // it is not time yet for any
		return nil
	case 1:
		return failed[0]
	}
	return failed
}

// tidy returns the certificate for name that is in the folder, or nil, and
// throws away what there is that cannot be used.
func (k *Keeper) tidy(ctx context.Context, name string) (*stored, error) {
	for _, i := range k.issuers {
		_, err := k.store.load(ctx, i, name)
		if errors.Is(err, errUnusable) {
			k.log.Warn("unusable certificate is thrown away", "name", name, "error", err)
			err = k.store.discard(ctx, i, name)
		}
		if err != nil {
			return nil, err
		}
	}
	return k.find(ctx, name)
}

// obtainAt orders a certificate for e at one CA.
func (k *Keeper) obtainAt(ctx context.Context, e *entry, why string, i *issuer, old *stored, b *backoff) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	kinds := i.kinds()
	at := &attempt{kind: kinds[b.refused%len(kinds)], pressing: old.runsOut(time.Now())}
	// A CA may refuse an order for what it says it replaces, so the second
	// attempt says nothing. An expired certificate is never named: it is
	// nothing to replace any more (RFC 9773 section 5).
	if old.valid(time.Now()) && old.issuer == i && b.refused == 0 {
		at.replaces = old.cert.Leaf
	}
	err := k.try(ctx, e, why, i, at)
	if second := kinds[(b.refused+1)%len(kinds)]; b.refused == 0 && second != at.kind && notArrived(at.err) {
		again := &attempt{kind: second, pressing: at.pressing}
		if !errors.As(at.err, &again.spoiled) {
			b.refused++ // the CA counts it
		}
		if serr := k.try(ctx, e, why, i, again); serr == nil || !notArrived(again.err) {
			err, at = serr, again
		}
	}
	b.asked = at.retryAfter
	if err != nil {
		return err
	}
	cur, err := k.store.load(ctx, i, e.name)
	if err != nil {
		return err
	}
	// Ordering over and over would help neither the certificate nor the clock.
	if !cur.valid(time.Now()) {
		return clockWrong("the new certificate has expired already")
	}
	k.announce(e, cur, Obtained)
	if _, at := due(cur, time.Now()); !at.After(time.Now()) {
		return clockWrong("the new certificate is due for renewal already")
	}
	return nil
}

// clockWrong is the error for dates that do not fit this machine's clock.
func clockWrong(what string) error {
	return hint.ClockWrong.Error(errors.New(what+": is the clock right?"), "NOW", time.Now().Format(time.RFC3339))
}

// try makes one order, after a rehearsal. The error is a *Failure.
func (k *Keeper) try(ctx context.Context, e *entry, why string, i *issuer, at *attempt) error {
	ctx = withAttempt(ctx, at)
	if at.err = i.rehearseAlone(ctx, e.name, at.kind); at.err != nil {
		return newFailure(i.ca, at, at.err)
	}
	k.log.Info("ordering certificate", "name", e.name, "why", why, "ca", i.ca, "validation", at.kind)
	k.notify(Event{Kind: Ordering, Name: e.name, Why: why})
	// Forced, since whether it is time was decided before. Where there is no
	// certificate, certmagic obtains one.
	err := i.magic.RenewCertSync(ctx, e.name, true)
	if err == nil {
		return nil
	}
	k.log.Debug("order failed", "name", e.name, "ca", i.ca, "validation", at.kind, "error", err)
	if at.err != nil {
		err = at.err // without the words around it
	}
	return newFailure(i.ca, at, err)
}

// announce puts cur to use and says so. The log says it first: whoever has
// waited for the certificate then speaks after it.
func (k *Keeper) announce(e *entry, cur *stored, kind EventKind) {
	if err := k.keys.Note(e.name, keyOf(cur.cert.Leaf)); err != nil { // it was put into the folder by hand
		k.log.Warn("the key of a certificate is not noted", "name", e.name, "error", err, hint.Attr(hint.All(err)))
	}
	k.log.Info("certificate "+kind.String(), "name", e.name, "not_after", cur.cert.Leaf.NotAfter)
	e.set(cur)
	k.notify(Event{Kind: kind, Name: e.name, NotAfter: cur.cert.Leaf.NotAfter})
}

// refresh asks the CA when cur should be renewed (RFC 9773) and returns how
// long to wait before asking again. The answer is kept in memory only: after a
// restart it is asked for once more.
func (k *Keeper) refresh(ctx context.Context, e *entry, cur *stored) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, ariTimeout)
	defer cancel()
	ari, err := cur.issuer.client("").GetRenewalInfo(ctx, cur.cert.Leaf)
	if err != nil {
		k.log.Debug("no advice on renewal", "name", e.name, "error", err)
		return maxUnreached
	}
	if ari.SameWindow(cur.ari) && !cur.ari.SelectedTime.IsZero() {
		ari.SelectedTime = cur.ari.SelectedTime
	}
	next := *cur
	next.ari = ari
	e.set(&next)
	if ari.RetryAfter == nil {
		return maxARIPoll
	}
	return min(max(time.Until(*ari.RetryAfter), minARIPoll), maxARIPoll)
}

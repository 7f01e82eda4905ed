package acme

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// checkInterval is the longest sleep between two looks at a certificate.
	// Timers stand still while a machine sleeps, so the clock is asked.
	checkInterval = 10 * time.Minute

	// orderTimeout bounds one order from its lock to its certificate.
	orderTimeout = 5 * time.Minute

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
	leaf := s.cert.Leaf
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	at = leaf.NotAfter.Add(-lifetime / 3)
	if t := s.ari.SelectedTime; !t.IsZero() && t.Before(at) {
		at = t
		if floor := leaf.NotBefore.Add(min(lifetime/2, minAge)); at.Before(floor) {
			at = floor
		}
	}
	return "due for renewal", at
}

// adopt takes up the certificate for e that is in the folder. An expired one
// is never served nor named as replaced, but its files stay until there is
// another, since it may be the clock that is wrong.
func (k *Keeper) adopt(e *entry) {
	cur, err := k.store.load(k.ctx, k.issuer.IssuerKey(), e.name)
	if err != nil {
		k.log.Warn("stored certificate cannot be loaded", "name", e.name, "error", err)
		return
	}
	if cur != nil {
		e.set(cur)
	}
}

// keep renews the certificate for e until ctx ends.
func (k *Keeper) keep(ctx context.Context, e *entry) {
	if cur, _ := e.state(); cur.valid(time.Now()) {
		k.announce(e, cur, Loaded)
	}
	var b backoff
	var ariNext time.Time
	for ctx.Err() == nil {
		cur, _ := e.state()
		why, at := due(cur, time.Now())
		wait := max(time.Until(at), time.Until(b.next))
		if wait <= 0 {
			if err := k.order(ctx, e, why, &b); err != nil && ctx.Err() == nil {
				k.failed(e, cur, why, err, &b)
			}
			continue
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
			b.kick()
		}
		timer.Stop()
	}
}

// failed notes that an attempt failed.
func (k *Keeper) failed(e *entry, cur *stored, why string, err error, b *backoff) {
	ev := Event{Kind: Failed, Name: e.name, Why: why, Err: err}
	var lifetime time.Duration
	if cur != nil {
		lifetime = cur.cert.Leaf.NotAfter.Sub(cur.cert.Leaf.NotBefore)
		if cur.valid(time.Now()) {
			ev.NotAfter = cur.cert.Leaf.NotAfter
		}
	}
	b.fail(err, lifetime)
	ev.Next = b.next
	k.log.Warn("no certificate obtained", "name", e.name, "why", why, "error", err,
		"next", time.Until(b.next).Round(time.Second))
	k.notify(ev)
}

// order obtains a certificate for e, once validation can arrive.
func (k *Keeper) order(ctx context.Context, e *entry, why string, b *backoff) error {
	if k.cfg.Ready != nil {
		k.notify(Event{Kind: Waiting, Name: e.name, Why: why})
		if err := k.cfg.Ready(ctx, e.name); err != nil {
			return fmt.Errorf("wait for validation to be possible: %w", err)
		}
	}
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	lock := "order_" + e.name
	if err := k.store.Lock(ctx, lock); err != nil {
		return err
	}
	defer k.store.Unlock(ctx, lock)
	return k.obtain(ctx, e, why, b)
}

// obtain orders a certificate for e, or takes one that is in the folder by
// now. The lock for the name is held.
func (k *Keeper) obtain(ctx context.Context, e *entry, why string, b *backoff) error {
	key := k.issuer.IssuerKey()
	old, err := k.store.load(ctx, key, e.name)
	if errors.Is(err, errUnusable) {
		k.log.Warn("unusable certificate is thrown away", "name", e.name, "error", err)
		err = k.store.discard(ctx, key, e.name)
	}
	if err != nil {
		return err
	}
	if _, at := due(old, time.Now()); at.After(time.Now()) {
		// Another process on the same folder has been faster.
		if cur, _ := e.state(); cur == nil || !cur.cert.Leaf.Equal(old.cert.Leaf) {
			*b = backoff{}
			e.set(old)
			k.announce(e, old, Loaded)
			return nil
		}
	}

	kinds := k.issuer.kinds()
	at := &attempt{kind: kinds[b.refused%len(kinds)]}
	// A CA may refuse an order for what it says it replaces, so the second
	// attempt says nothing. An expired certificate is never named: it is
	// nothing to replace any more (RFC 9773 section 5).
	if old.valid(time.Now()) && b.refused == 0 {
		at.replaces = old.cert.Leaf
	}
	err = k.try(ctx, e, why, at, b)
	if second := kinds[(b.refused+1)%len(kinds)]; b.refused == 0 && second != at.kind && at.notArrived {
		b.refused++ // the CA counts it
		err = k.try(ctx, e, why, &attempt{kind: second}, b)
	}
	if err != nil {
		return err
	}
	cur, err := k.store.load(ctx, key, e.name)
	if err != nil {
		return err
	}
	// Ordering over and over would help neither the certificate nor the clock.
	if !cur.valid(time.Now()) {
		return errors.New("the new certificate has expired already: is the clock right?")
	}
	e.set(cur)
	k.announce(e, cur, Obtained)
	if _, at := due(cur, time.Now()); !at.After(time.Now()) {
		return errors.New("the new certificate is due for renewal already: is the clock right?")
	}
	*b = backoff{}
	return nil
}

// try makes one order.
func (k *Keeper) try(ctx context.Context, e *entry, why string, at *attempt, b *backoff) error {
	k.log.Info("ordering certificate", "name", e.name, "why", why, "ca", k.cfg.CA, "validation", at.kind)
	k.notify(Event{Kind: Ordering, Name: e.name, Why: why})
	// Forced, since whether it is time was decided before. Where there is no
	// certificate, certmagic obtains one.
	if err := k.magic.RenewCertSync(withAttempt(ctx, at), e.name, true); err != nil {
		b.asked, at.notArrived = at.retryAfter, notArrived(err)
		return asProblem(err, at)
	}
	return nil
}

// announce says that cur is in use.
func (k *Keeper) announce(e *entry, cur *stored, kind EventKind) {
	k.log.Info("certificate "+kind.String(), "name", e.name, "not_after", cur.cert.Leaf.NotAfter)
	k.notify(Event{Kind: kind, Name: e.name, NotAfter: cur.cert.Leaf.NotAfter})
}

// refresh asks the CA when cur should be renewed (RFC 9773) and returns how
// long to wait before asking again. The answer is kept in memory only: after a
// restart it is asked for once more.
func (k *Keeper) refresh(ctx context.Context, e *entry, cur *stored) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, ariTimeout)
	defer cancel()
	ari, err := k.issuer.client("").GetRenewalInfo(ctx, cur.cert.Leaf)
	if err != nil {
		k.log.Debug("no advice on renewal", "name", e.name, "error", err)
		return maxUnreached
	}
	if ari.SameWindow(cur.ari) && !cur.ari.SelectedTime.IsZero() {
		ari.SelectedTime = cur.ari.SelectedTime
	}
	e.set(&stored{cert: cur.cert, ari: ari})
	if ari.RetryAfter == nil {
		return maxARIPoll
	}
	return min(max(time.Until(*ari.RetryAfter), minARIPoll), maxARIPoll)
}

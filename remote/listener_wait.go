package remote

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Wait returns nil once a session has the name and a valid certificate is
// loaded. It returns what will not pass; or, when ctx ends, its error with what
// was missing.
func (l *Listener) Wait(ctx context.Context) error {
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	err := l.links.wait(both)
	if err == nil && l.keeper != nil {
		err = l.keeper.Wait(both, l.domain)
	}
	switch {
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return l.missing(ctx.Err())
	}
	return err
}

// missing says what keeps the name from answering, for a Wait that err ends.
func (l *Listener) missing(err error) error {
	relays := l.d.relaysOf(l)
	has, lost := l.links.loss()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case has && l.noCert != nil:
		return &missingError{"no certificate: " + l.noCert.Error(), []error{err, l.noCert}}
	case has:
		return &missingError{"no certificate yet", []error{err}}
	case lost != nil:
		return &missingError{"no session: " + lost.Error(), []error{err, lost}}
	}
	return &missingError{"no session yet: waiting for " + strings.Join(relays, ", "), []error{err}}
}

// A missingError says what a Wait has waited for in vain. It wraps why Wait
// ended and what went wrong, but that a time is over needs no words.
type missingError struct {
	text string
	errs []error
}

func (e *missingError) Error() string   { return e.text }
func (e *missingError) Unwrap() []error { return e.errs }

// everywhereTimeout is how long an order waits for the other relays of a name, once one
// of them has given it: each may be down for long.
const everywhereTimeout = 10 * time.Second

// everywhereAgain is for how long no order waits so after one that has waited in vain. An
// order that has to wait for its place among others asks again when it has one, and would
// lose that for a relay that does not give the name.
const everywhereAgain = 10 * time.Minute

// waitEverywhere waits until each relay that the name wants has given it, or for
// everywhereTimeout. A deadline of ctx, which an order that may begin has, ends the wait
// without an error, too: a relay that gives the name and takes it back again and again
// must not keep the order from its place.
func (l *Listener) waitEverywhere(ctx context.Context) error {
	late := time.NewTimer(everywhereTimeout)
	defer late.Stop()
	for {
		linked := l.links.next()
		l.mu.Lock()
		vain := l.vain
		l.mu.Unlock()
		if !vain.IsZero() && time.Since(vain) < everywhereAgain || l.d.isEverywhere(l) {
			return nil
		}
		select {
		case <-linked:
		case <-late.C:
			l.mu.Lock()
			l.vain = time.Now()
			l.mu.Unlock()
			return nil
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return context.Cause(ctx)
		}
	}
}

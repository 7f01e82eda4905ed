package acme

import (
	"time"

	"keystay/internal/hint"
)

// A HeldError is the error of an order that Config.Hold does not let begin yet.
type HeldError struct {
	Name  string
	Until time.Time
}

func (e *HeldError) Error() string {
	return "there is no room for a new certificate for " + e.Name + " until " + e.Until.Format(time.RFC3339)
}

// Hints says what to do, in one line each.
func (e *HeldError) Hints() []string { return hint.CertificateWaits.With() }

// heldUntil returns until when the CA of number n is not to be asked for a
// certificate for e, of which cur is the one before.
func (k *Keeper) heldUntil(e *entry, cur *stored, n int) time.Time {
	if n > 0 || k.cfg.Hold == nil || cur != nil && cur.issuer == k.issuers[0] {
		return time.Time{}
	}
	return k.cfg.Hold(e.name)
}

// soonest returns when the first of the CAs may be asked for a certificate for e,
// of which cur is the one before.
func (k *Keeper) soonest(e *entry, cur *stored, tries []backoff) (first time.Time) {
	for n := range tries {
		next := tries[n].next
		if held := k.heldUntil(e, cur, n); held.After(next) {
			next = held
		}
		if n == 0 || next.Before(first) {
			first = next
		}
	}
	return first
}

// holding returns why a certificate for e cannot be ordered now, of which cur is
// the one before, or nil where no hold is to blame.
func (k *Keeper) holding(e *entry, cur *stored, tries []backoff) *HeldError {
	until := k.soonest(e, cur, tries)
	if !time.Now().Before(until) || !k.heldUntil(e, cur, 0).Equal(until) {
		return nil
	}
	return &HeldError{Name: e.name, Until: until}
}

// A toldHold is what the log was told last of an order that has to wait.
type toldHold struct{ until, at time.Time }

// held notes that an order has to wait. The log has it again only where the time is
// another one by more than a minute, and at most once in checkInterval: whoever holds
// may say another time with each kick.
func (k *Keeper) held(why string, err *HeldError, told *toldHold) {
	if err.Until.Sub(told.until).Abs() > time.Minute && time.Since(told.at) >= checkInterval {
		*told = toldHold{err.Until, time.Now()}
		k.log.Warn("a new certificate has to wait", "name", err.Name, "until", err.Until, hint.Attr(err.Hints()))
	}
	k.notify(Event{Kind: Held, Name: err.Name, Why: why, Err: err, Next: err.Until})
}

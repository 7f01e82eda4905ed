package acme

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"
)

const (
	// A CA that cannot be reached, or that is not asked, as after a rehearsal, is
	// tried again soon, since that costs nothing and the network may be back any
	// moment.
	minUnreached = 2 * time.Second
	maxUnreached = 10 * time.Minute

	// A CA that refused counts each attempt. Let's Encrypt gives back one
	// failed validation each 12 minutes, so the last step is above that.
	minRefused = 15 * time.Second
	maxRefused = 15 * time.Minute

	// A kick may be the work of those who make the orders fail, such as a relay that
	// gives a name and takes it back. So it sets a wait aside again only after minKicked,
	// and each time after twice as long, up to maxKicked.
	minKicked = time.Minute
	maxKicked = time.Hour

	// maxRetryAfter bounds what a CA's Retry-After can ask for.
	maxRetryAfter = 24 * time.Hour
)

// backoff says when the next attempt for a name is due.
type backoff struct {
	unreached, refused int           // failures of each sort since the last success
	lastUnreached      bool          // the last failure was of the first sort
	asked              time.Duration // what the CA asked for in the attempt that failed
	next               time.Time     // keeps its monotonic reading: the clock may jump
}

// fail notes a failed attempt. Waits grow twofold, or fourfold after a
// refusal, and are spread by a quarter. lifetime is that of the certificate to
// be replaced, 0 for none: a twentieth of it, if that is more than
// minUnreached, is the longest wait, unless the CA asked for more.
func (b *backoff) fail(err error, lifetime time.Duration) {
	b.failed(errors.As(err, new(*RehearsalError)) || errors.As(err, new(*url.Error)), lifetime)
}

// failed is fail; unreached is the sort of the failure.
func (b *backoff) failed(unreached bool, lifetime time.Duration) {
	var wait, limit time.Duration
	if b.lastUnreached = unreached; unreached {
		wait, limit = minUnreached<<min(b.unreached, 20), maxUnreached
		b.unreached++
	} else {
		wait, limit = minRefused<<min(2*b.refused, 20), maxRefused
		b.refused++
	}
	if lifetime > 0 {
		limit = min(limit, lifetime/20)
	}
	wait = min(wait, max(limit, minUnreached))
	wait = wait*3/4 + rand.N(wait/2)
	wait, b.asked = max(wait, b.asked), 0
	b.next = time.Now().Add(wait)
}

// failedBefore reports whether an attempt failed since the last success.
func failedBefore(tries []backoff) bool {
	return slices.ContainsFunc(tries, func(b backoff) bool { return b.unreached+b.refused > 0 })
}

// kicks are those that have set waits aside since the last success.
type kicks struct {
	n    int
	next time.Time // when one may again
}

// kick makes the next attempt due now at each CA that did not refuse the last one, unless
// another kick has done so lately.
func (k *kicks) kick(tries []backoff) {
	now := time.Now()
	waits := func(b backoff) bool { return b.lastUnreached && now.Before(b.next) }
	if now.Before(k.next) || !slices.ContainsFunc(tries, waits) {
		return
	}
	k.next = now.Add(min(minKicked<<min(k.n, 20), maxKicked))
	k.n++
	for i := range tries {
		if tries[i].lastUnreached {
			tries[i].next = time.Time{}
		}
	}
}

// failDue notes that the CAs that could be asked now are not, because of err.
func failDue(tries []backoff, err error) {
	for i := range tries {
		if time.Until(tries[i].next) <= 0 {
			tries[i].fail(err, 0)
		}
	}
}

// failAll notes that an attempt failed before any CA was asked, which none has refused,
// and returns err.
func failAll(tries []backoff, err error) error {
	for i := range tries {
		tries[i].failed(true, 0)
	}
	return err
}

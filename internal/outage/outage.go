// Package outage decides how often a log tells of a fault that lasts. Anyone can
// make requests that fail, so their number must not make the log grow.
package outage

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// repeatFirst is how long the log is silent after it has told of a fault; each
	// further silence while it lasts is twice as long, up to repeatMost.
	repeatFirst = time.Minute
	repeatMost  = time.Hour
)

// An Outage is a fault that lasts, or may come. The zero value is ready, and its
// methods may be called from any goroutine.
type Outage struct {
	lasts atomic.Bool // so that Ends costs nothing while all is well

	mu      sync.Mutex
	began   time.Time
	last    time.Time // failure
	failed  int
	told    bool // the log has a line of it
	silence time.Duration
	next    time.Time     // no line before
	begins  chan struct{} // hears of the beginning, if it is not nil
}

// Failed counts n more failures, which may be 0, and reports whether to tell of
// them. It returns how many there were since the beginning. A fault of which
// nothing was heard for an hour begins anew.
func (o *Outage) Failed(n int) (tell bool, all int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.lasts.Load() || now.Sub(o.last) > repeatMost {
		o.began, o.failed, o.told = now, 0, false
		o.lasts.Store(true)
		select {
		case o.begins <- struct{}{}:
		default:
		}
	}
	o.last = now
	o.failed += n
	if now.Before(o.next) {
		return false, 0
	}
	o.silence = min(2*o.silence, repeatMost)
	if !o.told {
		o.told, o.silence = true, repeatFirst
	}
	o.next = now.Add(o.silence)
	return true, o.failed
}

// Ends ends the outage, if there is one. It returns how long that was, with how
// many failures, and reports whether it was told: then its end is to be told, too.
func (o *Outage) Ends() (lasted time.Duration, all int, told bool) {
	if !o.lasts.Load() {
		return 0, 0, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.lasts.Load() {
		return 0, 0, false
	}
	o.lasts.Store(false)
	return time.Since(o.began), o.failed, o.told
}

// Begins returns a channel that hears of the next beginning. There is one for all
// callers.
func (o *Outage) Begins() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begins == nil {
		o.begins = make(chan struct{}, 1)
	}
	return o.begins
}

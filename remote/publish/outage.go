package publish

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// repeatFirst is how long the log is silent after it has told of a fault of
	// the local service; each further silence while it lasts is twice as long,
	// up to repeatMost. Anyone can make requests, so their number must not make
	// the log grow.
	repeatFirst = time.Minute
	repeatMost  = time.Hour
	// maxFaults is how many kinds of broken answers are told apart.
	maxFaults = 32
	// watchFirst is how long after a failure the service is dialled again; each
	// further wait is twice as long, up to watchMost.
	watchFirst = time.Second
	watchMost  = 15 * time.Second
)

// An outage decides what the log tells of a fault that lasts. The zero value is
// ready.
type outage struct {
	lasts atomic.Bool // so that ends costs nothing while all is well

	mu       sync.Mutex
	began    time.Time
	last     time.Time // failure
	requests int       // that have failed
	told     bool      // the log has a line of it
	silence  time.Duration
	next     time.Time     // no line before
	begins   chan struct{} // hears of the beginning, if it is not nil
}

// failed counts requests that have failed, and reports whether to tell of it.
// It returns how many have failed since the beginning.
func (o *outage) failed(now time.Time, requests int) (tell bool, all int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.lasts.Load() || now.Sub(o.last) > repeatMost {
		o.began, o.requests, o.told = now, 0, false
		o.lasts.Store(true)
		select {
		case o.begins <- struct{}{}:
		default:
		}
	}
	o.last = now
	o.requests += requests
	if now.Before(o.next) {
		return false, 0
	}
	o.silence = min(2*o.silence, repeatMost)
	if !o.told {
		o.told, o.silence = true, repeatFirst
	}
	o.next = now.Add(o.silence)
	return true, o.requests
}

// ends ends the outage, if there is one, and reports whether it was told.
func (o *outage) ends(now time.Time) (lasted time.Duration, requests int, told bool) {
	if !o.lasts.Load() {
		return 0, 0, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.lasts.Load() {
		return 0, 0, false
	}
	o.lasts.Store(false)
	return now.Sub(o.began), o.requests, o.told
}

// hear returns a channel that hears of the next beginning.
func (o *outage) hear() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begins == nil {
		o.begins = make(chan struct{}, 1)
	}
	return o.begins
}

// faults are outages by what is wrong.
type faults struct {
	mu sync.Mutex
	by map[string]*outage
}

// of returns the outage for a text. Beyond maxFaults texts all share one.
func (f *faults) of(text string) *outage {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by[text] == nil && len(f.by) >= maxFaults {
		text = ""
	}
	if f.by[text] == nil {
		if f.by == nil {
			f.by = make(map[string]*outage)
		}
		f.by[text] = new(outage)
	}
	return f.by[text]
}

// Watch looks whether the local service can be reached, as Check does, and logs
// when it cannot, and when it can again: at once, and later when requests have
// failed. Domain is the public name. Watch returns when ctx ends.
func (t *Target) Watch(ctx context.Context, domain string) {
	begins := t.silence.hear()
	wait := watchFirst
	for {
		err := t.Check(ctx, domain)
		var f *fault
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			t.answers()
			wait = watchFirst
			select {
			case <-begins:
			case <-ctx.Done():
				return
			}
		case errors.As(err, &f):
			if tell, requests := t.silence.failed(time.Now(), 0); tell {
				t.tell(f, requests)
			}
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		wait = min(2*wait, watchMost)
	}
}

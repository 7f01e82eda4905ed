package publish

import (
	"context"
	"errors"
	"sync"
	"time"

	"keystay/internal/outage"
)

const (
	// maxFaults is how many kinds of broken answers are told apart.
	maxFaults = 32
	// watchFirst is how long after a failure the service is dialled again; each
	// further wait is twice as long, up to watchMost.
	watchFirst = time.Second
	watchMost  = 15 * time.Second
)

// faults are outages by what is wrong.
type faults struct {
	mu sync.Mutex
	by map[string]*outage.Outage
}

// of returns the outage for a text. Beyond maxFaults texts all share one.
func (f *faults) of(text string) *outage.Outage {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by[text] == nil && len(f.by) >= maxFaults {
		text = ""
	}
	if f.by[text] == nil {
		if f.by == nil {
			f.by = make(map[string]*outage.Outage)
		}
		f.by[text] = new(outage.Outage)
	}
	return f.by[text]
}

// looks holds the one Watch that looks.
func (t *Target) looks() chan struct{} {
	t.watch.Do(func() { t.watches = make(chan struct{}, 1) })
	return t.watches
}

// Watch looks whether the local service can be reached, as Check does, and logs
// when it cannot, and when it can again: at once, and later when requests have
// failed. Domain is the public name. Watch returns when ctx ends. Where it is called
// for several names, the first one is asked for until that call returns.
func (t *Target) Watch(ctx context.Context, domain string) {
	select {
	case t.looks() <- struct{}{}:
		defer func() { <-t.looks() }()
	case <-ctx.Done():
		return
	}
	begins := t.silence.Begins()
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
			if tell, requests := t.silence.Failed(0); tell {
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

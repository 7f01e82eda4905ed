package remote

import (
	"errors"
	"math"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
)

// askLeft is the wait before a name is claimed once more on a link that has others,
// where the relay does not say how long.
const askLeft = 30 * time.Second

// later returns when the names are to be claimed once more that a relay has denied
// for now, and tells the log of those.
func (w *way) later(relay string, denied map[*Listener]error) time.Duration {
	soonest := time.Duration(math.MaxInt64)
	for l, why := range denied {
		wait := askLeft
		var denial *framing.Denial
		if errors.As(why, &denial) && denial.Retry > 0 {
			wait = min(denial.Retry, maxAsked)
		}
		soonest = min(soonest, wait)
		w.noteName(l, standing{why: reason(why)}, func() {
			w.d.log.Warn("the relay does not give this name yet; asking again", "name", l.domain, "relay", relay,
				"err", why, "in", wait, hint.Attr(hint.All(why)))
			w.d.tell(Event{Kind: Denied, Name: l.domain, Relay: relay, Err: why})
		})
	}
	return soonest
}

// A relay says in its own words why it denies a name, and may say something else each time,
// or give the name and take it back: of a name toldBurst lines are told at once, and then one
// in each toldInterval. What is not told then is told later, if it is still so: the log's last
// word of a name is true.
const (
	toldBurst    = 16
	toldInterval = 10 * time.Minute
)

// A standing is what a relay says of a name; zero is nothing.
type standing struct {
	given bool
	why   string // not
}

// A told is what the log was told of a name.
type told struct {
	is, last standing // now, and as it was told
	tell     func()   // tells what is now
	waits    bool     // for the time when more may be told
	lines    allowance
}

// noteName notes what the relay says of a name, and tells the log of it where that is new.
func (w *way) noteName(l *Listener, is standing, tell func()) {
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	t := w.nameLocked(l)
	t.is, t.tell = is, tell
	w.tellNameLocked(t)
}

// noteGiven notes that the log was told that the relay gives names.
func (w *way) noteGiven(given []*Listener) {
	w.toldMu.Lock()
	defer w.toldMu.Unlock()
	for _, l := range given {
		t := w.nameLocked(l)
		t.is = standing{given: true}
		t.last = t.is
	}
}

func (w *way) nameLocked(l *Listener) *told {
	if w.names == nil {
		w.names = make(map[*Listener]*told)
	}
	if w.names[l] == nil {
		w.names[l] = new(told)
	}
	return w.names[l]
}

func (w *way) tellNameLocked(t *told) {
	if t.is == t.last || t.waits {
		return
	}
	wait := t.lines.take(toldBurst, toldInterval)
	if wait == 0 {
		t.last = t.is
		t.tell()
		return
	}
	t.waits = true
	w.d.wg.Go(func() {
		select {
		case <-time.After(wait):
		case <-w.ctx.Done():
			return
		}
		w.toldMu.Lock()
		defer w.toldMu.Unlock()
		t.waits = false
		w.tellNameLocked(t)
	})
}

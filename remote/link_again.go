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
		if w.newReason(l, why) {
			w.d.log.Warn("the relay does not give this name yet; asking again", "name", l.domain, "relay", relay,
				"err", why, "in", wait, hint.Attr(hint.All(why)))
			w.d.tell(Event{Kind: Denied, Name: l.domain, Relay: relay, Err: why})
		}
	}
	return soonest
}

// A relay says in its own words why it denies a name, and may say something else each time:
// of a name toldBurst reasons are told at once, and then one in each toldInterval.
const (
	toldBurst    = 16
	toldInterval = 10 * time.Minute
)

// A told is the reason why a name is denied, or "" where it is not.
type told struct {
	text string
	told string    // which was told last
	free time.Time // when as many may be told at once as ever
}

// newReason notes why a name is denied, or nil that it is not, and reports whether
// that is to be told: it is something else than what was told last.
func (w *way) newReason(l *Listener, why error) bool {
	text := ""
	if why != nil {
		text = reason(why)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = make(map[*Listener]told)
	}
	t := w.why[l]
	t.text = text
	tells := t.told != text
	if tells {
		now := time.Now()
		if t.free.Before(now) {
			t.free = now
		}
		next := t.free.Add(toldInterval)
		if tells = next.Sub(now) <= toldBurst*toldInterval; tells {
			t.told, t.free = text, next
		}
	}
	w.why[l] = t
	return tells
}

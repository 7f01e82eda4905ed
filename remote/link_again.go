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
// for now, and tells the log of those. What it has denied for good is left alone.
func (w *way) later(relay string, denied map[*Listener]error) time.Duration {
	soonest := time.Duration(math.MaxInt64)
	for l, why := range denied {
		var denial *framing.Denial
		if !errors.As(why, &denial) || denial.Permanent() {
			continue
		}
		wait := askLeft
		if denial.Retry > 0 {
			wait = min(denial.Retry, maxAsked)
		}
		soonest = min(soonest, wait)
		if w.newReason(l, why) {
			w.d.log.Warn("the relay does not give this name yet; asking again", "name", l.domain, "relay", relay,
				"err", why, "in", wait, hint.Attr(hint.All(why)))
		}
	}
	return soonest
}

// newReason notes why a name is denied, or nil that it is not, and reports whether
// that is something else than before.
func (w *way) newReason(l *Listener, why error) bool {
	text := ""
	if why != nil {
		text = reason(why)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = make(map[*Listener]string)
	}
	was := w.why[l]
	w.why[l] = text
	return was != text
}

// claimLeft claims the names once more that were denied for now, and takes those that
// are granted out of denied.
func (w *way) claimLeft(r *reached, denied map[*Listener]error) (granted []grant) {
	for l, why := range denied {
		if final(why) {
			continue
		}
		claimed, err := w.claim(r.link, r.relay, l)
		if err != nil {
			denied[l] = err
			l.noteLoss(err)
			continue
		}
		delete(denied, l)
		granted = append(granted, grant{l, claimed})
		w.settle(r.relay, l)
		l.linkUp(r.link, claimed)
		if w.newReason(l, nil) {
			w.d.log.Info("the relay gives one more name", "name", l.domain, "relay", r.relay)
		}
	}
	return granted
}

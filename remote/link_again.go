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

// later returns when the names are to be claimed once more that a relay has denied a link
// for now, and tells the log of those. The link has some, with rules from before.
func (w *way) later(relay string, denied map[*Listener]error, has map[*Listener]int) time.Duration {
	soonest := time.Duration(math.MaxInt64)
	for l, why := range denied {
		wait := askLeft
		var denial *framing.Denial
		if errors.As(why, &denial) && denial.Retry > 0 {
			wait = min(denial.Retry, maxAsked)
		}
		soonest = min(soonest, wait)
		_, own := has[l]
		w.tellings.denied(l, own, reason(why), func() {
			w.d.log.Warn("the relay does not give this name yet; asking again", "name", l.domain, "relay", relay,
				"err", why, "in", wait, hint.Attr(hint.All(why)))
			w.d.tell(Event{Kind: Denied, Name: l.domain, Relay: relay, Err: why})
		})
	}
	return soonest
}

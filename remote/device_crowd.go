package remote

import (
	"time"

	"keystay/framing"
	"keystay/internal/hint"
)

// DefaultMaxVisitors is how many visitors' connections a Listener has at once.
// It is as many as a relay sends over one link.
const DefaultMaxVisitors = 4096

// isFull refuses a visitor if there are as many as there may be. Those who are
// there stay, and the log says so, as of an outage: once, and then ever more
// rarely. A certificate's validation by http-01 is no visitor.
func (l *Listener) isFull(h framing.Header) bool {
	if h.Kind != framing.KindTLS {
		return false
	}
	most := l.cfg.MaxVisitors
	if most == 0 {
		most = DefaultMaxVisitors
	}
	if l.Visitors() <= most { // with this one
		if lasted := l.full.ends(); lasted > 0 {
			l.log.Info("visitors are taken again", "after", lasted.Round(time.Millisecond))
		}
		return false
	}
	if l.full.tellsReason("full", false) {
		l.log.Warn("too many visitors at once: new ones are refused", "visitors", most, hint.Attr(hint.TooManyVisitors.Do))
	}
	return true
}

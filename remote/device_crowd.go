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
func (d *device) isFull(h framing.Header) bool {
	if h.Kind != framing.KindTLS {
		return false
	}
	most := d.cfg.MaxVisitors
	if most == 0 {
		most = DefaultMaxVisitors
	}
	if d.visitors() <= most { // with this one
		if lasted := d.full.ends(); lasted > 0 {
			d.log.Info("visitors are taken again", "after", lasted.Round(time.Millisecond))
		}
		return false
	}
	if d.full.tellsReason("full", false) {
		d.log.Warn("too many visitors at once: new ones are refused", "visitors", most, hint.Attr(hint.TooManyVisitors.Do))
	}
	return true
}

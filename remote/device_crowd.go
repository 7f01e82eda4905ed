package remote

import (
	"time"

	"keystay/framing"
	"keystay/internal/hint"
)

// DefaultMaxVisitors is how many visitors' connections a Listener has at once,
// where half of the process's memory is enough for as many. It is as many as a relay
// sends over one link.
const DefaultMaxVisitors = 4096

// visitorMemory is about what a visitor's connection may take beside its requests,
// in bytes: TLS, its stream, and a head that has not come as a whole.
const visitorMemory = 256 << 10

// maxVisitors is how many visitors' connections there may be in a process with so
// many bytes of memory; configured is Config.MaxVisitors.
func maxVisitors(configured int, memory int64) int {
	if configured != 0 {
		return configured
	}
	return int(min(DefaultMaxVisitors, max(1, memory/2/visitorMemory)))
}

// poolPart: the streams of one link may make a device hold one part in so many of the
// process's memory, beyond what visitorMemory has for each. There are two links to
// each relay, and up to maxLeft, or partOfLeft of each relay, that end.
const poolPart = 32

// linkPool is framing's Handler.Pool in a process with so many bytes of memory.
func linkPool(memory int64) int {
	return int(min(framing.MaxPool, max(framing.MinPool, memory/poolPart)))
}

// tellCrowded says that a network has as many visitors as it may have.
func tellCrowded(d *Device) {
	if d.crowded.tells("network", false) {
		d.log.Warn("too many visitors at once from one network: new ones from there are refused")
	}
}

// isFull refuses a visitor if there are as many as there may be. Those who are
// there stay, and the log says so, as of an outage: once, and then ever more
// rarely. A certificate's validation by http-01 is no visitor.
func (d *Device) isFull(h framing.Header) bool {
	if h.Kind == framing.KindHTTP01 {
		return false
	}
	if d.Visitors() <= d.most { // with this one
		if lasted := d.full.ends(); lasted > 0 {
			d.log.Info("visitors are taken again", "after", lasted.Round(time.Millisecond))
		}
		return false
	}
	if d.full.tells("full", false) {
		d.log.Warn("too many visitors at once: new ones are refused", "visitors", d.most, hint.Attr(hint.TooManyVisitors.Do))
	}
	return true
}

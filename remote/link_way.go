package remote

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"keystay/internal/hint"
)

// DefaultLinks is how many links a remote keeps to a relay.
const DefaultLinks = 2

// A way is a relay that serves the device, with the links to it.
type way struct {
	d          *device
	candidates []string // the relay, or where it may be, in the order to try
	named      bool     // by the owner, now or when this relay gave the name before
	addresses  []string // to dial instead of the relay's own; may be empty
	line       line
	outage     outage // while no link is up
	health     laneHealth
	told       atomic.Bool     // that the relay keeps no rules
	ctx        context.Context // ends with the device, or when this relay refuses for good
	end        context.CancelFunc

	mu    sync.Mutex
	relay string                 // the candidate that answered, "" until then
	why   map[*Listener]string   // why a name is denied, as it was told last
	gave  map[*Listener]struct{} // whose names it has given; if any, no other candidate is tried
	links map[string]int         // how many links lead to an address
}

// run keeps the links to the relay until the device ends or the relay refuses
// the name for good, and returns why.
func (w *way) run(links int) error {
	w.ctx, w.end = context.WithCancel(w.d.ctx)
	defer w.end()
	refused := make(chan error, links)
	var wg sync.WaitGroup
	for range links {
		wg.Go(func() {
			if err := w.keepLink(); err != nil {
				refused <- err
				w.end()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-refused:
		return err
	default:
		return context.Cause(w.d.ctx)
	}
}

// name is the relay for people.
func (w *way) name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.relay != "" {
		return w.relay
	}
	return strings.Join(w.candidates, " or ")
}

// answered notes that a candidate has answered as a relay.
func (w *way) answered(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relay = relay
}

// settle makes the candidate that has given a listener's name the one that all
// links of the way go to, and remembers it for the name.
func (w *way) settle(relay string, l *Listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, before := w.gave[l]; before {
		return
	}
	if w.gave == nil {
		w.gave = make(map[*Listener]struct{})
	}
	w.relay = relay
	w.gave[l] = struct{}{}
	relays := []string{relay}
	if w.named {
		relays = nil
		for _, other := range w.d.ways {
			relays = append(relays, other.candidates...)
		}
	}
	how := served{Relays: relays, Named: w.named, Made: l.made, Service: l.cfg.Service}
	if err := w.d.state.remember(l.domain, how); err != nil {
		w.d.log.Warn("cannot remember how the name is served", "err", err)
	}
}

// token is what a relay is told with the claim of a name: nothing, unless the
// owner named this relay or nobody else can answer for it. A token that was kept for
// this very relay is its own.
func (w *way) token(relay, name string) (token string, withheld bool) {
	w.d.mu.Lock()
	given := w.d.token
	w.d.mu.Unlock()
	if given != "" && (w.named || owns(relay, name)) {
		return given, false
	}
	kept, err := w.d.state.keptToken(relay)
	if err != nil {
		w.d.log.Warn("the claim goes without a token", "err", err, hint.Attr(hint.All(err)))
	}
	return kept, kept == "" && given != ""
}

// occupy notes that a link leads to an address, until the returned function is
// called.
func (w *way) occupy(address net.Addr) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links == nil {
		w.links = make(map[string]int)
	}
	at := address.String()
	w.links[at]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.links[at]--; w.links[at] == 0 {
			delete(w.links, at)
		}
	}
}

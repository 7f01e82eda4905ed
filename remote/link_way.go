package remote

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/hint"
)

// DefaultLinks is how many links a remote keeps to a relay.
const DefaultLinks = 2

// linksEach is how many links the device keeps to each relay.
func (d *Device) linksEach() int { return cmp.Or(d.cfg.Links, DefaultLinks) }

// A way is a relay that serves the device, with the links to it.
type way struct {
	d         *Device
	addresses []string // to dial instead of the relay's own; may be empty
	line      line
	nodes     *nodes
	doors     doors  // at which nodes may be dialled
	outage    outage // while no link is up
	badToken  outage // while the token that is kept for the relay cannot be read
	tellings  tellings
	health    laneHealth
	takes     takes
	told      atomic.Bool     // that the relay keeps no rules
	left      atomic.Int32    // links that have visitors and no names any more
	waiting   atomic.Int32    // of these, links with an old key for one with the new key
	ctx       context.Context // ends with the device, with its last name, or when this relay refuses the device
	end       context.CancelFunc

	// Guarded by Device.mu.
	wants    map[*Listener]bool // whose names are to be claimed; true where the owner named this relay
	sessions map[*session]struct{}
	port     int // where visitors connect, as the relay said last; 0 until then

	mu         sync.Mutex
	candidates []string          // the relay, or where it may be, in the order to try
	relay      string            // the candidate that answered, "" until then
	gave       map[*Listener]int // whose names it has given, and how many links have each; those alone that are on one or wanted
	fixed      bool              // it has given a name: no other candidate is tried
	links      map[string]int    // how many links lead to an address
	keyed      map[string]bool   // the keys with which a link has claimed names
	nextKey    chan struct{}     // closed when there is one more; nil while nobody waits for that
}

// newWay returns a way without a name, to be run.
func newWay(d *Device, r route) *way {
	w := &way{d: d, candidates: r.candidates, addresses: r.addresses, wants: make(map[*Listener]bool), sessions: make(map[*session]struct{}),
		nodes: newNodes(d.PublicKey())}
	w.ctx, w.end = context.WithCancel(d.ctx)
	w.tellings.after, w.tellings.wants, w.tellings.has = w.after, w.isToClaim, w.has
	return w
}

// isToClaim reports whether the way is to claim the name of l. It takes Device.mu, which is
// taken after that of tellings.
func (w *way) isToClaim(l *Listener) bool {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	_, wants := w.wants[l]
	return wants
}

// after does something later, while the way is there.
func (w *way) after(wait time.Duration, do func()) { w.d.after(w.ctx, wait, do) }

// after does something later, unless ctx ends.
func (d *Device) after(ctx context.Context, wait time.Duration, do func()) {
	d.wg.Go(func() {
		select {
		case <-time.After(wait):
			do()
		case <-ctx.Done():
		}
	})
}

// run keeps the links to the relay until the way ends, or the relay refuses the
// device for good.
func (w *way) run() {
	defer w.end()
	links := w.d.linksEach()
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
	wg.Go(w.keepPlaces)
	wg.Wait()
	select {
	case err := <-refused:
		w.d.refuseAll(w, err)
	default:
	}
}

// wanted returns the listeners whose names are to be claimed, in the order of their
// names: so all links have the same ones where there is no room for all.
func (w *way) wanted() []*Listener {
	w.d.mu.Lock()
	list := slices.Collect(maps.Keys(w.wants))
	w.d.mu.Unlock()
	slices.SortFunc(list, func(a, b *Listener) int { return cmp.Compare(a.domain, b.domain) })
	return list
}

// tellLocked tells the sessions that other names are wanted. Device.mu is held.
func (w *way) tellLocked() {
	for s := range w.sessions {
		s.r.tell()
	}
}

// attend makes a session hear of other names that are wanted, until the returned
// function is called.
func (w *way) attend(s *session) (dismiss func()) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.sessions[s] = struct{}{}
	return func() {
		w.d.mu.Lock()
		defer w.d.mu.Unlock()
		delete(w.sessions, s)
	}
}

// noteLoss keeps why there is no session, for Wait.
func (w *way) noteLoss(err error) {
	for _, l := range w.wanted() {
		l.links.noteLoss(err)
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

// host is the name of the relay that the way leads to, or "" while that is not known.
func (w *way) host() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	relay := w.relay
	if relay == "" && len(w.candidates) == 1 {
		relay = w.candidates[0]
	}
	host, _ := splitRelay(relay)
	return host
}

// answered notes that a candidate has answered as a relay.
func (w *way) answered(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relay = relay
}

// leadsTo reports whether the candidate that has answered is this relay.
func (w *way) leadsTo(relay string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	host, port := splitRelay(relay)
	ownHost, ownPort := splitRelay(w.relay)
	return w.relay != "" && host == ownHost && port == ownPort
}

// bind makes the way lead to this relay from now on: names want it now that another
// candidate is nothing to.
func (w *way) bind(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.candidates = []string{relay}
}

// give notes that one more link has a listener's name, of the relay that all links of
// the way go to from now on. It reports whether that is the first link.
func (w *way) give(relay string, l *Listener) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gave == nil {
		w.gave = make(map[*Listener]int)
	}
	w.relay, w.fixed = relay, true
	w.gave[l]++
	return w.gave[l] == 1
}

// notePort notes where visitors of a name come, as the relay has said with it.
func (w *way) notePort(l *Listener, port int) {
	if l.isPort() {
		return
	}
	w.d.mu.Lock()
	if _, wants := w.wants[l]; wants {
		l.said.note(w, port)
	}
	w.d.mu.Unlock()
	l.noteURL()
}

// has reports whether a link has a listener's name.
func (w *way) has(l *Listener) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gave[l] > 0
}

// take undoes give, and reports whether that was the last link.
func (w *way) take(l *Listener) (last bool) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.mu.Lock()
	w.gave[l]--
	last = w.gave[l] == 0
	w.mu.Unlock()
	dropGone(w, l)
	return last
}

// dropGone keeps nothing of a listener that the way has given a name, once no link has that and
// nobody wants it. Device.mu is held.
func dropGone(w *way, l *Listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, wants := w.wants[l]; !wants && w.gave[l] == 0 {
		delete(w.gave, l)
	}
}

// token is what a relay is told with the claim of a name: nothing, unless the
// owner named this relay or nobody else can answer for it. A token that was kept for
// this very relay is its own.
func (w *way) token(relay string, l *Listener) (token string, withheld bool) {
	w.d.mu.Lock()
	given, named := w.d.token, w.wants[l]
	w.d.mu.Unlock()
	if given != "" && (named || owns(relay, l.domain)) {
		return given, false
	}
	kept, err := w.d.state.keptToken(relay)
	if err == nil {
		w.badToken.ends()
	} else if w.badToken.tells(err.Error(), false) { // there is a claim whenever the relay likes
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

package relay

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"keystay/internal/duplex"
)

// HoldTimeout is how long a visitor of a name whose remote is away waits for it.
const HoldTimeout = 10 * time.Second

// TakeoverHold is how long a visitor waits for a name that the old process of this
// relay has handed over, counted from the moment it did.
const TakeoverHold = 30 * time.Second

const (
	// maxHoldsPerName is how many visitors of one name may wait for its remote.
	maxHoldsPerName = 64
	// maxHolds is how many visitors may wait in all.
	maxHolds = 4096
	// maxExpectedPerName and maxExpected are the same for names that were
	// handed over: every visitor of theirs waits until the remote has dialled
	// again.
	maxExpectedPerName = 1024
	maxExpected        = 16384
)

// A hold says until when a visitor may wait, and with how many others of its name
// and in all.
type hold struct {
	until          time.Time
	perName, total int
	opened         <-chan struct{} // closed when it may be told better; nil when it may not
	ask            time.Time       // when a sibling may be asked; the zero time is never
}

// A visitor is a connection, and what its hello asks for.
type visitor struct {
	conn       net.Conn
	place      *pending // may be nil
	name       string
	nameless   bool      // its hello asks for none, and name is the default: a sibling, which has the hello too, does not take it
	validation bool      // by a CA: the handshake is all of it
	port       bool      // it has come to a TCP port, and name is that port's
	taking     *taking   // a sibling has passed it on; else nil
	until      time.Time // it waits no longer, and asks no sibling, whatever follows the first of either; the zero time before
	takenBy    time.Time // its hello has been taken, by whichever sessions are tried; the zero time before the first
	asked      asked
	offered    *offered // once it has hopped: its remote may take it; else nil
}

// hasLeft reports whether it has left meanwhile. Whoever has sent all that he has to
// send may wait for the answer, but no client of TLS can have done so yet.
func (v *visitor) hasLeft() bool {
	if v.port {
		return !duplex.Alive(v.conn)
	}
	return duplex.Ended(v.conn)
}

// address is what the relay sees of the visitor.
func (v *visitor) address() netip.Addr { return addrPort(v.conn.RemoteAddr()).Addr() }

// A waiter is a visitor that waits for a remote that is away.
type waiter struct {
	visitor
	holder string        // stands for the identity that the name belongs to, or without one for the visitor's network
	owned  bool          // the record has that identity
	pushed chan struct{} // closed when another visitor has taken its place
	at     *list.Element // nil without a place; guarded by waiters.mu
}

// waiters are the visitors that wait. The table is shared in two steps: among the
// holders of the names, and for each holder among its names. Where it is full, a
// newcomer whose holder has fewer in it than another takes the place of one of
// the holder that has most; of one holder, in the same way, the name that has
// most gives one up. The visitor that has waited longest goes.
//
// Names that the record gives to nobody are labels made from keys, or cannot be
// told now. Anybody can make as many keys as he likes. So such names have at most
// half of the table together, and count by the network that the visitor comes
// from. Within a network a newcomer also takes a place where every name has one.
type waiters struct {
	mu        sync.Mutex
	holders   tally             // visitors of each holder
	ownerless tally             // those among them that are networks
	names     map[string]*tally // of each holder: visitors of each of its names
	waiting   map[string]*list.List
}

// A holdOutcome says how the wait of a visitor has ended.
type holdOutcome int

const (
	holdCame      holdOutcome = iota // the remote came, or it is to be asked anew
	holdLeft                         // the visitor has left
	holdLate                         // the time was over
	holdFull                         // there was no place, or it had to be given up
	holdRelayLeft                    // the relay leaves
	holdAsks                         // it goes on waiting, after a sibling has been asked
	holdOutcomes
)

// holdWords are the outcomes as metrics have them.
var holdWords = [holdOutcomes]string{holdCame: "came", holdLeft: "left", holdLate: "timeout", holdFull: "full", holdRelayLeft: "relay_left", holdAsks: "sibling"}

// count is how many visitors wait.
func (h *waiters) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holders.sum
}

// enter gives w a place. It reports false where there is none.
func (h *waiters) enter(w *waiter, limit hold) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.waiting[w.name]; l != nil && l.Len() >= limit.perName {
		return false
	}
	if !w.owned && h.ownerless.sum >= limit.total/2 && !h.pushLocked(w, &h.ownerless) {
		return false
	}
	if h.holders.sum >= limit.total && !h.pushLocked(w, &h.holders) {
		return false
	}
	if h.names == nil {
		h.names, h.waiting = make(map[string]*tally), make(map[string]*list.List)
	}
	if h.names[w.holder] == nil {
		h.names[w.holder] = new(tally)
	}
	if h.waiting[w.name] == nil {
		h.waiting[w.name] = list.New()
	}
	h.holders.add(w.holder, 1)
	if !w.owned {
		h.ownerless.add(w.holder, 1)
	}
	h.names[w.holder].add(w.name, 1)
	w.at = h.waiting[w.name].PushBack(w)
	return true
}

// pushLocked makes room for w, if another visitor of the holders among has less
// right to its place.
func (h *waiters) pushLocked(w *waiter, among *tally) bool {
	holder, most := among.largest()
	if among.count[w.holder]+1 >= most { // its own holder has as much as any
		holder = w.holder
	}
	names := h.names[holder]
	if names == nil {
		return false
	}
	name, most := names.largest()
	if more := most - names.count[w.name]; holder == w.holder && (more < 1 || more == 1 && w.owned) {
		return false
	}
	e := h.waiting[name].Front()
	for e.Value.(*waiter).holder != holder { // of a name without an owner: from another network
		e = e.Next()
	}
	first := e.Value.(*waiter)
	close(first.pushed)
	h.takeLocked(first)
	return true
}

// takeLocked ends that w has a place.
func (h *waiters) takeLocked(w *waiter) {
	if w.at == nil {
		return
	}
	h.waiting[w.name].Remove(w.at)
	w.at = nil
	if h.waiting[w.name].Len() == 0 {
		delete(h.waiting, w.name)
	}
	h.holders.add(w.holder, -1)
	if !w.owned {
		h.ownerless.add(w.holder, -1)
	}
	names := h.names[w.holder]
	if names.add(w.name, -1); names.sum == 0 {
		delete(h.names, w.holder)
	}
}

// leave ends that w waits.
func (h *waiters) leave(w *waiter, p *presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.takeLocked(w)
	if h.waiting[w.name] == nil {
		p.forgetArrival(w.name)
	}
}

// unwatched forgets the arrival of a name unless a visitor waits for it.
func (h *waiters) unwatched(name string, p *presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[name] == nil {
		p.forgetArrival(name)
	}
}

// await waits within h for the name of v to come up, but not after the server
// leaves, nor after the visitor has left or had to give its place up; again reports
// that it is to be asked anew where the name leads. It returns false when the name
// does not come up, and at once when there is no place.
func (r *router) await(v *visitor, h hold) (again bool) {
	w := &waiter{visitor: *v, pushed: make(chan struct{})}
	if w.holder, w.owned = r.names.HolderOf(v.name); !w.owned {
		w.holder = network(v.address()).String()
	}
	if !r.waiters.enter(w, h) {
		r.holds[holdFull].Add(1)
		return false
	}
	defer r.waiters.leave(w, r.presence)
	began := time.Now()
	how := r.wait(w, h)
	r.holds[how].Add(1)
	if how == holdAsks {
		return true
	}
	r.held.Observe(time.Since(began).Seconds())
	return how == holdCame
}

// wait is await for a visitor that has a place. It returns how the wait ends.
func (r *router) wait(w *waiter, h hold) holdOutcome {
	ctx, cancel := context.WithDeadline(r.ctx, h.until)
	defer cancel()
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		arrival := r.presence.arrival(w.name)
		if s, _ := r.presence.find(w.name, w.validation); s != nil {
			return holdCame
		}
		if _, ok := r.findElsewhere(w.asked, w.name, w.validation); ok {
			return holdCame
		}
		select {
		case <-arrival:
		case <-h.opened:
			return holdCame
		case <-watch.C:
			if w.hasLeft() {
				return holdLeft
			}
			if !h.ask.IsZero() && !time.Now().Before(h.ask) {
				return holdAsks
			}
		case <-w.pushed:
			return holdFull
		case <-w.place.pushedOut():
			return holdFull
		case <-r.leaving:
			return holdRelayLeft
		case <-ctx.Done():
			return holdLate
		}
	}
}

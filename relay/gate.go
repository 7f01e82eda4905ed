package relay

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"keystay/internal/duplex"
)

const (
	// maxHandshakesWaiting is how many TLS handshakes for the relay's own name
	// may wait for their turn; the others are closed, and remotes come again.
	maxHandshakesWaiting = 4096
	// handshakeWait is how long one may wait: less than a remote does.
	handshakeWait = 12 * time.Second
	// A network is what one customer has at least, who may have all addresses in it:
	// so many bits of an address of IPv4, and of IPv6.
	network4 = 24
	network6 = 48
)

// errBusy is the error of a handshake for which there is no turn.
var errBusy = errors.New("too many handshakes at once")

// A gate lets a few TLS handshakes compute at once, so that visitors have their
// part of the processors when all remotes come back together. The networks that
// they come from take turns, and within one the first come is served first, so
// that whoever sends hellos by the thousand waits for itself. A place is held only
// while there is something to compute: who holds one cannot keep it by sending
// nothing.
type gate struct {
	mu      sync.Mutex
	free    int // places
	waiting map[netip.Prefix]*queue
	turns   list.List // of netip.Prefix: the networks that wait, in turn
	sizes   tally     // how many of each network wait
}

// A queue is what waits of one network, first come first served.
type queue struct {
	list.List               // of *handshakeTurn
	turn      *list.Element // in gate.turns
}

// newGate returns a gate with half as many places as there are processors.
func newGate() *gate {
	return &gate{free: max(1, runtime.GOMAXPROCS(0)/2), waiting: make(map[netip.Prefix]*queue)}
}

// A handshakeTurn is a handshake that waits.
type handshakeTurn struct {
	come  chan struct{} // closed when it has come, or is lost
	lost  bool          // to somebody of a network with fewer; set before come is closed
	given bool          // guarded by the gate's mu
}

// network returns the network that an address belongs to.
func network(a netip.Addr) netip.Prefix {
	bits := network6
	if a = a.Unmap(); a.Is4() {
		bits = network4
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// enter waits for a place for c. The function it returns gives it back, and may be
// called several times.
func (g *gate) enter(ctx context.Context, c net.Conn) (leave func(), err error) {
	leave = sync.OnceFunc(g.leave)
	from := network(addrPort(c.RemoteAddr()).Addr())
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return leave, nil
	}
	t := &handshakeTurn{come: make(chan struct{})}
	e := g.queueLocked(t, from)
	g.mu.Unlock()
	if e == nil {
		return nil, errBusy
	}
	if err = g.wait(ctx, c, t); err == nil {
		return leave, nil
	}
	if g.giveUp(e, t, from) { // it has come just now
		leave()
	}
	return nil, err
}

// wait waits for a turn, as long as the peer is there.
func (g *gate) wait(ctx context.Context, c net.Conn, t *handshakeTurn) error {
	timer := time.NewTimer(handshakeWait)
	defer timer.Stop()
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		select {
		case <-t.come:
			if t.lost {
				return errBusy
			}
			return nil
		case <-watch.C:
			if duplex.Ended(c) {
				return errVisitorLeft
			}
		case <-timer.C:
			return errBusy
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// queueLocked puts t into the queue of its network. Where too many wait, the last of
// the network that has most of them loses its turn to one of a network with fewer;
// else it returns nil.
func (g *gate) queueLocked(t *handshakeTurn, from netip.Prefix) *list.Element {
	if g.sizes.sum >= maxHandshakesWaiting {
		key, most := g.sizes.largest()
		if g.sizes.count[from.String()]+1 >= most {
			return nil
		}
		largest := netip.MustParsePrefix(key)
		last := g.waiting[largest].Back()
		loser := last.Value.(*handshakeTurn)
		loser.lost = true
		close(loser.come)
		g.removeLocked(last, largest)
	}
	q := g.waiting[from]
	if q == nil {
		q = &queue{turn: g.turns.PushBack(from)}
		g.waiting[from] = q
	}
	g.sizes.add(from.String(), 1)
	return q.PushBack(t)
}

// removeLocked takes a turn out of the queue of its network.
func (g *gate) removeLocked(e *list.Element, from netip.Prefix) {
	q := g.waiting[from]
	e.Value.(*handshakeTurn).given = true
	q.Remove(e)
	g.sizes.add(from.String(), -1)
	if q.Len() == 0 {
		g.turns.Remove(q.turn)
		delete(g.waiting, from)
	}
}

// giveUp ends a turn that is not waited for any more. It reports whether its place
// was given to it already.
func (g *gate) giveUp(e *list.Element, t *handshakeTurn, from netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.given {
		return !t.lost
	}
	g.removeLocked(e, from)
	return false
}

// leave gives a place to the next network in turn, or frees it.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.turns.Front(); e != nil {
		g.turns.MoveToBack(e)
		from := e.Value.(netip.Prefix)
		first := g.waiting[from].Front()
		g.removeLocked(first, from)
		close(first.Value.(*handshakeTurn).come)
		return
	}
	g.free++
}

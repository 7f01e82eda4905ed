package relay

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/publicaddr"
)

const (
	// maxHandshakesWaiting is how many TLS handshakes for the relay's own name
	// may wait for their turn; further ones are closed, and their remotes come again.
	maxHandshakesWaiting = 4096
	// handshakeWait is how long one may wait: less than a remote does.
	handshakeWait = 12 * time.Second
	// A network is the least that a provider gives one customer, who may use all
	// addresses in it: so many bits of an address of IPv4, and of IPv6.
	network4 = 24
	network6 = 48
)

// errBusy is the error of a handshake for which there is no turn.
var errBusy = errors.New("too many handshakes at once")

// handshakes lets a few TLS handshakes compute at once, so that visitors have their
// part of the processors when all remotes come back together. The networks that
// they come from take turns, and within one the first come is served first, so
// that a network that sends hellos by the thousand waits for itself. A place is held
// only while there is something to compute, see turns: a peer cannot keep it by
// sending nothing.
type handshakes struct {
	mu      sync.Mutex
	free    int // places
	waiting map[netip.Prefix]*queue
	turns   list.List // of netip.Prefix: the networks that wait, in turn
	sizes   tally     // how many of each network wait
}

// A queue has the handshakes of one network that wait, first come first served.
type queue struct {
	list.List               // of *handshakeTurn
	turn      *list.Element // in handshakes.turns
}

// newHandshakes returns one with half as many places as there are processors.
func newHandshakes() *handshakes {
	return &handshakes{free: max(1, runtime.GOMAXPROCS(0)/2), waiting: make(map[netip.Prefix]*queue)}
}

// A handshakeTurn is a handshake that waits.
type handshakeTurn struct {
	come  chan struct{} // closed when it has come, or is lost
	lost  bool          // to somebody of a network with fewer; set before come is closed
	given bool          // guarded by handshakes.mu
}

// network returns the network that an address belongs to.
func network(a netip.Addr) netip.Prefix {
	return publicaddr.Network(a, network4, network6)
}

// enter waits for a place for c. The function it returns gives it back, and may be
// called several times.
func (h *handshakes) enter(ctx context.Context, c net.Conn) (leave func(), err error) {
	leave = sync.OnceFunc(h.leave)
	from := network(addrPort(c.RemoteAddr()).Addr())
	h.mu.Lock()
	if h.free > 0 {
		h.free--
		h.mu.Unlock()
		return leave, nil
	}
	t := &handshakeTurn{come: make(chan struct{})}
	e := h.queueLocked(t, from)
	h.mu.Unlock()
	if e == nil {
		return nil, errBusy
	}
	if err = h.wait(ctx, c, t); err == nil {
		return leave, nil
	}
	if h.giveUp(e, t, from) { // it has come just now
		leave()
	}
	return nil, err
}

// wait waits for a turn, as long as the peer is there.
func (h *handshakes) wait(ctx context.Context, c net.Conn, t *handshakeTurn) error {
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
func (h *handshakes) queueLocked(t *handshakeTurn, from netip.Prefix) *list.Element {
	if h.sizes.sum >= maxHandshakesWaiting {
		key, most := h.sizes.largest()
		if h.sizes.count[from.String()]+1 >= most {
			return nil
		}
		largest := netip.MustParsePrefix(key)
		last := h.waiting[largest].Back()
		loser := last.Value.(*handshakeTurn)
		loser.lost = true
		close(loser.come)
		h.removeLocked(last, largest)
	}
	q := h.waiting[from]
	if q == nil {
		q = &queue{turn: h.turns.PushBack(from)}
		h.waiting[from] = q
	}
	h.sizes.add(from.String(), 1)
	return q.PushBack(t)
}

// removeLocked takes a turn out of the queue of its network.
func (h *handshakes) removeLocked(e *list.Element, from netip.Prefix) {
	q := h.waiting[from]
	e.Value.(*handshakeTurn).given = true
	q.Remove(e)
	h.sizes.add(from.String(), -1)
	if q.Len() == 0 {
		h.turns.Remove(q.turn)
		delete(h.waiting, from)
	}
}

// giveUp ends a turn that is not waited for any more. It reports whether its place
// was given to it already.
func (h *handshakes) giveUp(e *list.Element, t *handshakeTurn, from netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.given {
		return !t.lost
	}
	h.removeLocked(e, from)
	return false
}

// leave gives a place to the next network in turn, or frees it.
func (h *handshakes) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.turns.Front(); e != nil {
		h.turns.MoveToBack(e)
		from := e.Value.(netip.Prefix)
		first := h.waiting[from].Front()
		h.removeLocked(first, from)
		close(first.Value.(*handshakeTurn).come)
		return
	}
	h.free++
}

// turns are those of one handshake. A turn ends before each Read that may wait for
// the peer, and the next begins when bytes have come: after a HelloRetryRequest
// (RFC 8446, section 4.1.4) and in TLS 1.2 there is as much to compute then as
// before. In TLS 1.3 there are no more once the server's Finished is written, with
// its signature: the client's Finished takes next to nothing.
type turns struct {
	of    *handshakes
	ctx   context.Context
	conn  net.Conn
	leave func() // ends the turn; nil between two
	over  bool   // there are no more
}

// take waits for a turn.
func (t *turns) take() (err error) {
	if t.leave == nil && !t.over {
		t.leave, err = t.of.enter(t.ctx, t.conn)
	}
	return err
}

// end ends a turn.
func (t *turns) end() {
	if t.leave != nil {
		t.leave()
		t.leave = nil
	}
}

// wrote notes what the server writes, in whole records. The first that is encrypted
// comes with the server's Finished: a HelloRetryRequest is not encrypted.
func (t *turns) wrote(b []byte) {
	const header, encrypted = 5, 23 // RFC 8446, section 5.1: application_data
	for len(b) >= header {
		if b[0] == encrypted {
			t.over = true
		}
		b = b[min(len(b), header+int(binary.BigEndian.Uint16(b[3:]))):]
	}
}

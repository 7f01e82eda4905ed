package relay

import (
	"bytes"
	"crypto/ed25519"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// offers are the visitors of this node whose remote is at another node and may take them
// from here, see "Past a hop" in framing's PROTOCOL.md.
type offers struct {
	noLanes   bool // none is made
	news      *nodeNews
	departure *atomic.Pointer[departure] // of the server; nil before
	names     *names.Names
	owners    *limits.Owners
	shares    *shares
	router    *router

	mu    sync.Mutex
	all   map[[8]byte]*offered // by the ids of their tokens
	count map[string]int       // of each name
}

// An offered is one such visitor.
type offered struct {
	among   *offers
	token   framing.LaneToken
	name    string
	host    Host // the remote
	detour  *framing.Detour
	in, out lanePace

	leaving sync.Once // the hop is counted as over

	// Guarded by offers.mu.
	used  bool          // somebody has shown the token
	void  bool          // nobody may any more
	lane  net.Addr      // from where
	visit *limits.Visit // from then on
	of    *identity     // whose memory the lane is counted in, from then on
}

// begin makes the connection to another node, whose remote has had so many bytes of the
// visitor, one that the remote may take the visitor from.
func (k *offers) begin(offer framing.LaneOffer, name string, host Host, far duplex.Conn, sent int) *offered {
	t := &offered{among: k, token: offer.Token, name: name, host: host, detour: framing.NewDetour(far, sent)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all, k.count = make(map[[8]byte]*offered), make(map[string]int)
	}
	k.all[t.token.ID()] = t
	k.count[name]++
	return t
}

// end ends an offer whose visitor is over. It may be nil.
func (t *offered) end() {
	if t == nil {
		return
	}
	k := t.among
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all[t.token.ID()] == t {
		delete(k.all, t.token.ID())
		if k.count[t.name]--; k.count[t.name] == 0 {
			delete(k.count, t.name)
		}
	}
	t.leaveLocked()
}

// leaveLocked ends what use has begun.
func (t *offered) leaveLocked() {
	t.visit.End()
	if t.of != nil {
		t.among.shares.devices.giveBack(t.of, framing.LaneMemory)
		t.of = nil
	}
}

// leaveHop counts that the hop is over, or about to be. It may be called again.
func (t *offered) leaveHop(h *hops) { t.leaving.Do(func() { h.done(hopsOut) }) }

// carried returns what until tells, which counts a hop that the kernel carries as one
// that has moved.
func (t *offered) carried(until func() duplex.Result) func() duplex.Result {
	if t == nil {
		return until
	}
	return func() duplex.Result {
		r := until()
		if !t.detour.Taken() {
			r.MovedAtoB, r.MovedBtoA, r.Moved = 0, 0, false
		}
		return r
	}
}

// laneFor returns what a remote at another node is told of a lane for a visitor, or
// nothing: where this node takes no lanes, or will not be found by them.
func (k *offers) laneFor(v *visitor) (o framing.LaneOffer) {
	if k.noLanes || v.validation || k.departure.Load() != nil {
		return o
	}
	if o.Node = k.news.reachable(); o.Node != "" {
		o.Token = framing.NewLaneToken()
	}
	return o
}

// use returns the visitor that a token gives away to the remote that shows it, from
// an address and once, or nil. From then on its bytes count here for its name and for
// the identity, as those of a lane of this node's own: the other node has no part in it.
// A token shown to the new process of this node is not known there.
func (k *offers) use(token framing.LaneToken, from net.Addr) *offered {
	k.mu.Lock()
	t := k.all[token.ID()]
	k.mu.Unlock()
	if t == nil || !t.token.Equal(&token) || k.isPast(t) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.used || t.void || k.all[token.ID()] != t || k.departure.Load() != nil {
		return nil
	}
	if _, banned := k.names.Banned(t.name, t.host.Key, addrPort(from).Addr()); banned {
		return nil
	}
	if t.of = k.shares.devices.borrow(t.host.Key, k.shares.memory, framing.LaneMemory); t.of == nil {
		k.shares.outOfMemory()
		return nil
	}
	visit, why := k.owners.Begin(t.name, t.host.Key, false)
	if why != limits.None {
		t.leaveLocked()
		return nil
	}
	t.used, t.lane, t.visit = true, from, visit
	t.in.begin(visit.In())
	t.out.begin(visit.Out())
	return t
}

// isPast reports whether a visitor is with a remote that it would not be brought to any
// more. What has changed while the other node was asked has not made the offer void.
func (k *offers) isPast(t *offered) bool {
	var key [ed25519.PublicKeySize]byte
	copy(key[:], t.host.Key)
	if !k.router.mayHave(t.name, key) {
		return true
	}
	if c, ok := k.router.nodes.Newest(t.name); ok && c.Key.Equal(t.host.Key) && t.isReplaced(c, newerOnNodes) {
		return true
	}
	here, _ := k.router.presence.present(t.name)
	for _, run := range here.Runs {
		if t.isReplaced(Claimed{t.name, here.Key, run, here.Replica}, newerOnNodes) {
			return true
		}
	}
	return false
}

// notUsed undoes use for a visitor that has stayed where it was. It may be nil.
func (k *offers) notUsed(t *offered) {
	if t == nil || t.detour.Taken() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t.in.begin(nil)
	t.out.begin(nil)
	t.leaveLocked()
}

// reset ends the visitors for which which returns true, and those of them that have not
// been taken are not to be: the node with the link ends them, a moment later perhaps.
func (k *offers) reset(which func(*offered) bool) (n int) {
	var list []*offered
	k.mu.Lock()
	for _, t := range k.all {
		switch {
		case !which(t):
		case t.used:
			list = append(list, t)
		default:
			t.void = true
		}
	}
	k.mu.Unlock()
	for _, t := range list { // without the lock, which the end of the copying takes
		t.detour.Reset()
	}
	return len(list)
}

// giveUp cuts the lanes of what c replaces; newer says which of two runs of one identity
// has the name.
func (k *offers) giveUp(c Claimed, newer func(run, old framing.Run) bool) {
	k.reset(func(t *offered) bool { return t.isReplaced(c, newer) })
}

// isReplaced reports whether c takes the name from the visitor's remote; newer says which
// of two runs of one identity has it.
func (t *offered) isReplaced(c Claimed, newer func(run, old framing.Run) bool) bool {
	if t.name != c.Name || t.host.Run == c.Run {
		return false
	}
	return !bytes.Equal(t.host.Key, c.Key) || !(c.Replica && t.host.Replica) && newer(c.Run, t.host.Run)
}

// takes reports whether a cut ends a visitor whom a remote has taken: as it ends those
// that are on streams at the other node.
func (c *Cut) takes(t *offered) bool {
	switch {
	case c.Address.IsValid():
		return false // a link of another node's
	case c.Addresses.IsValid():
		return t.used && c.Addresses.Contains(addrPort(t.lane).Addr())
	}
	return c.names(t.name) && c.isWhose(t.host.Key)
}

// A lanePace paces one direction of a visitor that goes over a hop, once its remote has
// taken it. Before, the node with the link does.
type lanePace struct {
	mu   sync.Mutex
	of   duplex.Pacer // nil before
	free bool         // what is reserved was reserved before
}

// begin has what is reserved from now on count with of; nil ends that.
func (p *lanePace) begin(of duplex.Pacer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of = of
}

// Reserve implements duplex.Pacer.
func (p *lanePace) Reserve(n int) (granted int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free = p.of == nil; p.free {
		return n, 0
	}
	return p.of.Reserve(n)
}

// Return implements duplex.Pacer.
func (p *lanePace) Return(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.free && p.of != nil {
		p.of.Return(n)
	}
	p.free = false
}

var _ duplex.Pacer = (*lanePace)(nil)

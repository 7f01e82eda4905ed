package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/sni"
)

const (
	// maxHops is how many nodes are asked to take one visitor: one, and once more where
	// that does not have the name or cannot be reached.
	maxHops = 2
	// hopTimeout is how long one of them may take to answer: it has the time limits of a
	// remote that takes a hello, and the way there and back.
	hopTimeout = takeTimeout + 5*time.Second
	// hopProbe is how often TCP looks whether the other end of a hop on which nothing
	// moves is still there.
	hopProbe = framing.PingInterval
)

// asked is which nodes have been asked to take a visitor, and whether siblings may be.
type asked struct {
	times int
	lost  []string // those that could not be reached
	late  bool     // no sibling is asked any more
}

// find is Nodes.Find for a visitor who may hop.
func (a asked) find(n Nodes, name string, validation bool) (Place, bool) {
	if n == nil || a.times >= maxHops {
		return Place{}, false
	}
	return n.Find(name, validation, a.lost)
}

// turn is Nodes.Turn for such a visitor.
func (a asked) turn(n Nodes, name string) (Place, bool) {
	if n == nil || a.times >= maxHops {
		return Place{}, false
	}
	p, ok := n.Turn(name)
	return p, ok && !slices.Contains(a.lost, p.Node)
}

// findElsewhere is asked.find, for where the record lets the name be, as far as this node knows.
// A node that is cut off from the record may have it for an identity that has lost it.
func (r *router) findElsewhere(a asked, name string, validation bool) (Place, bool) {
	for {
		p, ok := a.find(r.nodes, name, validation)
		if !ok || r.mayHave(name, p.Key) {
			return p, ok
		}
		a.lost = append(slices.Clone(a.lost), p.Node) // for this call alone
	}
}

// turnElsewhere is asked.turn in the same way.
func (r *router) turnElsewhere(a asked, name string) (Place, bool) {
	p, ok := a.turn(r.nodes, name)
	return p, ok && r.mayHave(name, p.Key)
}

// mayHave reports whether an identity may have a name: neither is banned, and the record
// does not give it to another one, unless that is its heir, whose claim is about to come. What
// the record says counts only while it can be read.
func (r *router) mayHave(name string, key [ed25519.PublicKeySize]byte) bool {
	if key == [ed25519.PublicKeySize]byte{} {
		return true
	}
	if _, ok := bannedAs(r.names, name, key[:], netip.Addr{}); ok {
		return false
	}
	if r.names.IsKeyName(name) {
		return true
	}
	holder, err := r.names.Holder(name)
	return err != nil || holder == nil || bytes.Equal(holder, key[:]) || leadsTo(r.names, key[:], holder) || r.names.Whole() != nil
}

// hops counts what goes between this node and others.
type hops struct {
	out, in gauge
	came    admission    // of visitors of other nodes
	refused atomic.Int64 // answers of other nodes to visitors of this one
	missed  atomic.Int64
	lost    atomic.Int64
	seconds prometheus.Observer // until another node has said yes
}

// begin counts a visitor who goes that way.
func (h *hops) begin(w way) {
	if g := h.of(w); g != nil {
		g.add()
	}
}

// done ends what begin began.
func (h *hops) done(w way) {
	if g := h.of(w); g != nil {
		g.done()
	}
}

func (h *hops) of(w way) *gauge {
	switch w {
	case hopsOut:
		return &h.out
	case hopsIn:
		return &h.in
	}
	return nil
}

// addHops adds what says how visitors fare who are taken to another node.
func (m meters) addHops(h *hops) {
	for way, g := range map[string]*gauge{"out": &h.out, "in": &h.in} {
		m.gaugeOf("keystay_hops", "Visitors that are being served between two nodes of this relay: out are those that have come to this node, whose remote is at another; in are those of other nodes. They are in keystay_visitors at both.",
			"direction", way, func() float64 { return float64(g.current()) })
		m.counterOf("keystay_hops_total", "Visitors that were taken from one node of this relay to another.", "direction", way, g.sum)
	}
	for answer, n := range map[string]*atomic.Int64{"not_there": &h.missed, "refused": &h.refused, "unreachable": &h.lost} {
		m.counterOf("keystay_hops_failed_total", "Visitors of this node that another one did not take, by its answer: it does not have the name, it refuses the visitor, or there was none.",
			"answer", answer, n.Load)
	}
}

// hop asks the node at p to take a visitor. It returns the connection that carries the
// visitor's bytes from there on. Again says that the router is to be asked anew;
// without it and without a connection, l says what becomes of the visitor.
func (o *opener) hop(v *visitor, p Place, first []byte) (far duplex.Conn, again bool, l lead) {
	kind := framing.KindTLS
	if v.port {
		kind = framing.KindTCP
	}
	ctx, cancel := v.untilLeft(o.router.ctx)
	defer cancel()
	h := Hop{Header: streamHeader(v.conn, v.name, kind), Validation: v.validation, First: first}
	h.Lane = o.offers.laneFor(v)
	far, host, err := o.router.ask(ctx, &v.asked, p, h)
	if err == nil && h.Lane.Node != "" && host.Takes {
		v.offered = o.offers.begin(h.Lane, v.name, host, far, len(first))
		far = v.offered.detour
	}
	if err == nil {
		return far, false, lead{to: elsewhere}
	}
	o.log.Debug("another node does not take a visitor", "node", p.Node, "err", err)
	var refused *HopRefused
	switch {
	case errors.As(err, &refused):
		return nil, false, lead{to: nowhere, alert: sni.Alert(refused.Alert), why: whyElsewhere(refused.Why)}
	case context.Cause(ctx) != nil: // the visitor has left, or the server is closed
		return nil, false, lead{to: nowhere, alert: sni.AlertInternalError, why: refusedNotTaken}
	}
	return nil, true, lead{}
}

// ask asks the node at p to take a visitor, and notes in a how that goes.
func (r *router) ask(ctx context.Context, a *asked, p Place, h Hop) (duplex.Conn, Host, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	far, host, err := r.nodes.Hop(limited, p.Node, h)
	var refused *HopRefused
	switch {
	case err == nil:
		r.hops.seconds.Observe(time.Since(began).Seconds())
		prepareHop(far)
		return far, host, nil
	case errors.As(err, &refused):
		r.hops.refused.Add(1)
		return nil, host, err
	case errors.Is(err, ErrNotThere):
		r.hops.missed.Add(1)
		r.nodes.Miss(p, h.Name)
		r.names.Remember([]string{h.Name}) // it was there, and is about to be back
	case ctx.Err() != nil:
		return nil, host, err
	default:
		r.hops.lost.Add(1)
		a.lost = append(a.lost, p.Node)
	}
	a.times++
	return nil, host, err
}

// hopChallenge is ask for a CA's HTTP-01 request, up to a connection that carries it.
func (r *router) hopChallenge(ctx context.Context, p Place, h framing.Header) (net.Conn, error) {
	var a asked
	for {
		far, _, err := r.ask(ctx, &a, p, Hop{Header: h, Validation: true})
		if err == nil {
			far.SetDeadline(time.Now().Add(challengeTimeout))
			return far, nil
		}
		var refused *HopRefused
		if errors.As(err, &refused) || ctx.Err() != nil { // no other node is asked then
			return nil, err
		}
		var ok bool
		if p, ok = r.findElsewhere(a, h.Name, true); !ok {
			return nil, err
		}
	}
}

// untilLeft returns a context that ends when the visitor leaves: nobody but a timer
// looks for that.
func (v *visitor) untilLeft(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	var look *time.Timer
	looking := make(chan struct{}) // closed once look is set
	look = time.AfterFunc(watchInterval, func() {
		<-looking
		if v.hasLeft() {
			cancel(errVisitorLeft)
			return
		}
		look.Reset(watchInterval)
	})
	close(looking)
	return ctx, func() {
		cancel(nil)
		look.Stop()
	}
}

// prepareHop sets what holds for the bare connection between two nodes that carries a
// visitor: no deadline is left from before, it is given up when the path is dead, idle
// or not, and it is reset when this process dies.
func prepareHop(c duplex.Conn) {
	c.SetDeadline(time.Time{})
	socket.UserTimeout(c, visitorTimeout)
	if t, ok := socket.Innermost(c).(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: hopProbe, Interval: hopProbe / 2, Count: 3})
	}
	socket.Linger(c, 0)
}

// whyElsewhere is the reason for which another node refuses a visitor.
func whyElsewhere(word string) whyRefused {
	if i := slices.Index(refusedWords[:], word); i >= 0 {
		return whyRefused(i)
	}
	return refusedNotTaken // by a newer node, for what this one does not know
}

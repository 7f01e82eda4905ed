package relay

import (
	"net"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/stack"
	"keystay/relay/limits"
	"keystay/sni"
)

// A hopped connection carries a visitor who has come to another node.
type hopped struct {
	duplex.Conn
	source, dest net.Addr // as the other node has them
}

// RemoteAddr returns the visitor's address.
func (h *hopped) RemoteAddr() net.Addr { return h.source }

// LocalAddr returns the address to which the visitor has come.
func (h *hopped) LocalAddr() net.Addr { return h.dest }

// NetConn returns the connection of the other node.
func (h *hopped) NetConn() net.Conn { return h.Conn }

var _ duplex.Conn = (*hopped)(nil)

// An admission counts those that come in by another way than the listeners, and can be
// ended. The zero value is open.
type admission struct {
	mu   sync.Mutex
	over bool
	all  gauge
}

// enter counts one, unless the admission is ended. The caller calls all.done.
func (a *admission) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		a.all.add()
	}
	return !a.over
}

// end lets none in any more.
func (a *admission) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

// ServeHop serves a visitor who has come to another node of this relay, and whose remote
// has its link here: it does not hop again. What the remote's rules and the limits of its
// names and of its identity say is asked here; what an address may have the other node
// has asked.
//
// C is the bare connection from that node, on which nothing is read before ServeHop
// returns: yes is called once the remote has the visitor's first bytes, and makes the
// other node send what follows. Without an error c is the server's from then on. Else
// it is still the caller's, and the error is [ErrNotThere], a *[HopRefused], or that of
// yes.
func (s *Server) ServeHop(c duplex.Conn, h Hop, yes func(Host) error) (err error) {
	s.init()
	stack.GrowDeep()
	if !s.hops.came.enter() {
		return ErrNotThere
	}
	defer s.hops.came.all.done()
	conn := &hopped{c, net.TCPAddrFromAddrPort(h.Source), net.TCPAddrFromAddrPort(h.Dest)}
	a := s.sockets.admit(conn)
	if a == nil {
		return ErrNotThere
	}
	defer s.panics.Catch("serving a visitor of another node", func() {
		a.end()
		err = refusedHere(refusedNotTaken)
	})
	a.way = hopsIn
	a.heard, a.hello, a.name = time.Since(s.began), len(h.First), h.Name
	host, err := s.opener.openHop(a, conn, h)
	if err == nil {
		err = yes(host)
	}
	if err != nil {
		a.end()
		return err
	}
	prepareHop(c)
	s.transit.serve(conn, a)
	return nil
}

// openHop brings the first bytes of a visitor of another node to the remote.
func (o *opener) openHop(a *admitted, conn *hopped, h Hop) (host Host, err error) {
	if d := o.descriptors; d.roomFor(conn) != forAll {
		d.refused()
		return Host{}, refusedHere(refusedScarce)
	}
	a.place = o.shares.unfinished.begin(conn, len(h.First))
	if a.place == nil {
		o.shares.outOfMemory()
		return Host{}, refusedHere(refusedAway)
	}
	v := &visitor{conn: conn, place: a.place, name: h.Name, validation: h.Validation, port: h.Kind == framing.KindTCP}
	stream, visit, sess, err := o.openHere(v, h)
	if err != nil {
		return Host{}, err
	}
	a.far, a.visit = stream, visit
	if a.place.end() { // it had to go before
		o.shares.outOfMemory()
		return Host{}, refusedHere(refusedAway)
	}
	return Host{Claimed{Key: sess.key, Run: sess.run, Replica: o.router.presence.isReplica(h.Name)}, sess.link.Takes()}, nil
}

// openHere opens a stream for v at a session of its name on this node.
func (o *opener) openHere(v *visitor, h Hop) (*framing.Stream, *limits.Visit, *session, error) {
	for {
		cuts := o.cuts.Load()
		// The record may tell this node of a ban before it tells the other one.
		if h.Kind != framing.KindHTTP01 && o.router.banned(v.address()) {
			return nil, nil, nil, refusedHere(refusedBanned)
		}
		sess, rules := o.router.presence.find(v.name, v.validation)
		if sess == nil {
			return nil, nil, nil, ErrNotThere
		}
		if l := (lead{rules: rules}); !v.validation && !o.router.admits(&l, v.address()) {
			return nil, nil, nil, refusedHere(refusedByRule)
		}
		if v.port {
			h.As = sess.called(v.name)
		}
		stream, visit, why := o.enter(v, sess, h.Header, h.First, cuts)
		if stream != nil {
			return stream, visit, sess, nil
		}
		if why != enterAgain {
			return nil, nil, nil, refusedHere(why)
		}
	}
}

// refusedHere is what another node is told of a visitor whom this one refuses. The
// other one counts it.
func refusedHere(why whyRefused) error {
	alert := sni.AlertInternalError
	if why == refusedBanned || why == refusedByRule {
		alert = sni.AlertAccessDenied
	}
	return &HopRefused{Alert: uint8(alert), Why: refusedWords[why]}
}

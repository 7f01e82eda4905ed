package relay

import (
	"bytes"
	"crypto/rand"
	"net"
	"net/netip"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/relay/names"
	"keystay/sni"
)

const (
	// helloBuffer is the size of the buffers for a ClientHello: that of a
	// browser has some 1,800 bytes.
	helloBuffer = 4 << 10
	// lingerTimeout is how long no byte may go either way on a visitor's
	// connection after one side has ended, also where what that side sent before
	// its end was not taken yet.
	lingerTimeout = 5 * time.Minute
	// visitorTimeout is how long a visitor may leave what it was sent without
	// an acknowledgement, or untaken, where the system can tell.
	visitorTimeout = 5 * time.Minute
	// restAfter is after how long without a byte either way a visitor takes the relay a
	// goroutine less.
	restAfter = 5 * time.Second
	// visitorUnsent is how much the system keeps for a visitor beyond what is
	// on its way to it, in bytes. On a lane there is no such limit: it would
	// make the kernel move small pieces, at a third more of the processor.
	visitorUnsent = 128 << 10
)

var helloBuffers = sync.Pool{New: func() any { return new([helloBuffer]byte) }}

// handle serves one connection of the public port: a visitor, a link, a lane or a
// browser.
func (s *Server) handle(c net.Conn) { s.sockets.take(c, s.deliver) }

// deliver brings a connection where it belongs. It reports whether it is kept there,
// and ended later: else it is over, or somebody else's.
func (s *Server) deliver(c net.Conn, a *admitted) (kept bool) {
	conn := s.door.caller(c, a)
	if conn == nil {
		return false
	}
	if sib := s.siblings.at(conn.RemoteAddr()); sib != nil {
		if conn = s.door.fromSibling(conn, a, sib); conn == nil {
			return false
		}
		if a.taking != nil && a.taking.kind == framing.KindHTTP01 {
			return s.takeChallenge(conn, a)
		}
	}
	if a.place = s.shares.unfinished.begin(conn, helloBuffer); a.place == nil {
		s.shares.outOfMemory()
		c.Close()
		return false
	}
	if own := s.receive(conn, a); own != nil {
		return s.handleOwn(own, a)
	}
	if a.fixed != nil {
		s.fixed.serve(conn, a)
		return true
	}
	if a.place.end() { // it had to go before
		s.shares.outOfMemory()
		if a.far != nil {
			socket.Abort(conn)
		}
		return false
	}
	if a.far == nil {
		return false
	}
	if a.taking != nil {
		answerYes(conn)
	}
	s.transit.serve(conn, a)
	return true
}

// A transit carries the bytes of visitors between them and their remotes.
type transit struct {
	began    time.Time // of the server
	sockets  *sockets
	hops     *hops
	traffic  *traffic
	visitors *gauge
	panics   *panics.Log
}

// serve carries a visitor's bytes over its stream, or to another node. It returns at
// once, and ends a when they are over: nothing but the copying itself waits for a
// visitor.
func (t *transit) serve(c sni.Conn, a *admitted) {
	socket.UserTimeout(c, visitorTimeout)
	t.visitors.add()
	t.hops.begin(a.way)
	far := a.far
	o := duplex.Options{Linger: lingerTimeout, Unanswered: unansweredTimeout, Panics: t.panics, Rest: t.sockets.rest}
	f := &flow{hello: a.hello, waited: time.Since(t.began) - a.heard, hops: a.way == hopsOut}
	if names.IsPort(a.name) { // the remote may have nothing to answer for long
		o.Unanswered = 0
		f.answered.Store(true)
	}
	if a.way == hopsIn { // the other node tells how long that takes
		f.answered.Store(true)
	}
	if !f.hops { // else the node that has the remote counts, and the kernel moves the bytes
		f.name = t.traffic.count(a.name)
		o.PaceAB, o.PaceBA = a.visit.In(), a.visit.Out()
		socket.Unsent(c, visitorUnsent)
		o.Moved = func() { socket.Unsent(c, 0) }
	}
	if a.way == hopsOut {
		t.sockets.goesTo(a, far)
	}
	offer := a.offered
	if offer != nil {
		o.PaceAB, o.PaceBA = &offer.in, &offer.out
	}
	a.place, a.far, a.name = nil, nil, "" // the copying ends both
	t.traffic.begin(f, offer.carried(duplex.Start(direct(c), far, o, func(duplex.Result) {
		t.traffic.end(f)
		if offer != nil {
			offer.leaveHop(t.hops)
		} else {
			t.hops.done(a.way)
		}
		t.visitors.done()
		a.end()
	})))
}

// receive reads the hello and opens a stream for a visitor. A connection for the
// relay's own name is returned instead. Without either it is closed, or with the
// new process of this relay.
func (s *Server) receive(c sni.Conn, a *admitted) (own *peeked) {
	buf := helloBuffers.Get().(*[helloBuffer]byte)
	hello, err := sni.ReadWithin(c, buf[:], a.place.grow)
	a.heard = time.Since(s.began)
	a.from.Greeted()
	defer helloBuffers.Put(buf)
	if err != nil {
		s.stats.refused.refuseHello(c, hello.Raw, err)
		return nil
	}
	a.hello = len(hello.Raw)
	s.measures.hello.Observe(float64(a.hello))
	name, err := hello.Name()
	nameless := err != nil && namesNothing(&hello)
	if nameless {
		name, err = s.DefaultName, nil
	}
	if err != nil {
		s.stats.refused.refuse(c, sni.AlertUnrecognizedName, refusedBadName)
		return nil
	}
	if d := &s.sockets.descriptors; name != s.Domain && d.noVisitor(c) {
		d.refused()
		s.stats.refused.refuse(c, sni.AlertInternalError, refusedScarce)
		return nil
	}
	v := &visitor{conn: c, place: a.place, name: name, nameless: nameless, validation: hello.OnlyALPN(acmeALPN), taking: a.taking}
	l := s.opener.open(a, v, hello.Raw)
	switch {
	case a.far != nil:
	case l.pass != nil && a.taking == nil && s.opener.passOn(l.pass, c, hello.Raw):
	case l.to == toFixed:
		a.fixed = &fixedLead{l.fixed, name, bytes.Clone(hello.Raw)}
	case l.to == toRelay && !a.mayShake(hello.OffersALPN(framing.Protocol)):
		s.stats.refused.refuse(c, sni.AlertInternalError, refusedHurried)
	case l.to == toRelay:
		own = &peeked{Conn: c, first: bytes.Clone(hello.Raw), place: a.place, from: a.from, lane: hello.OffersALPN(framing.LaneProtocol)}
		if !own.lane { // which leaves TLS, and must not read ahead
			own.Conn = framing.NewBufferedConn(c)
		}
	default:
		s.stats.refused.refuse(c, l.alert, l.why)
	}
	return own
}

// namesNothing reports whether a hello asks for no name: it has none, or an
// address, which is not allowed as one (RFC 6066, section 3) and which is what a
// client was given that has no name.
func namesNothing(h *sni.Hello) bool {
	_, err := netip.ParseAddr(string(h.ServerName))
	return err == nil || len(h.ServerName) == 0
}

func streamHeader(c net.Conn, name string, kind framing.Kind) framing.Header {
	h := framing.Header{Name: name, Kind: kind, Source: addrPort(c.RemoteAddr()), Dest: addrPort(c.LocalAddr())}
	rand.Read(h.ID[:])
	return h
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

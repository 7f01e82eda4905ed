package relay

import (
	"net"
	"time"

	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// portVisitors takes the visitors of TCP ports.
type portVisitors struct {
	sockets *sockets
	shares  *shares
	door    *door
	opener  *opener
	transit *transit
	refused *refusals
}

// accept takes visitors of a port until its listener is closed.
func (p *portVisitors) accept(name string, ln net.Listener) {
	defer p.sockets.untrack(ln)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go p.handle(c, name)
	}
}

// handle serves one connection to a public TCP port.
func (p *portVisitors) handle(c net.Conn, name string) {
	p.sockets.take(c, func(c net.Conn, a *admitted) (kept bool) { return p.deliver(c, a, name) })
}

// deliver brings a visitor of a port to the remote that has it, as Server.deliver does one
// of a name: but no byte of it is read first, and one that is refused is reset.
func (p *portVisitors) deliver(c net.Conn, a *admitted, name string) (kept bool) {
	conn := p.door.caller(c, a)
	if conn == nil {
		return false
	}
	a.heard = time.Since(p.transit.began)
	a.from.Greeted() // there is no hello to wait for
	refuse := func(why whyRefused) bool {
		p.refused[why].Add(1)
		socket.Abort(conn)
		return false
	}
	if d := &p.sockets.descriptors; d.noVisitor(conn) {
		d.refused()
		return refuse(refusedScarce)
	}
	if a.place = p.shares.unfinished.begin(conn, helloBuffer); a.place == nil {
		p.shares.outOfMemory()
		socket.Abort(conn)
		return false
	}
	l := p.opener.open(a, &visitor{conn: conn, place: a.place, name: name, port: true}, nil)
	switch {
	case a.place.end(): // it had to go before
		p.shares.outOfMemory()
		socket.Abort(conn)
		return false
	case a.far != nil:
		p.transit.serve(conn, a)
		return true
	case l.pass != nil && p.opener.passOn(l.pass, conn, nil):
		return false
	}
	return refuse(l.why)
}

// adopt serves a visitor of a port that the old process has accepted.
func (p *portVisitors) adopt(c sni.Conn, first []byte, from *limits.Connection, behind bool, name string) {
	if len(first) > 0 { // the header of a proxy
		c = &peeked{Conn: c, first: first}
	}
	p.sockets.routing.add()
	p.handle(&arrived{c, from, behind}, name)
}

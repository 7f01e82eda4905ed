package relay

import (
	"net"
	"time"

	"keystay/internal/socket"
	"keystay/relay/limits"
	"keystay/sni"
)

// servePort takes visitors of a port until its listener is closed.
func (s *Server) servePort(name string, ln net.Listener) {
	defer s.sockets.untrack(ln)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go s.handlePort(c, name)
	}
}

// handlePort serves one connection to a public TCP port.
func (s *Server) handlePort(c net.Conn, name string) {
	s.take(c, func(c net.Conn, a *admitted) (kept bool) { return s.deliverPort(c, a, name) })
}

// deliverPort brings a visitor of a port to the remote that has it, as deliver does one
// of a name: but no byte of it is read first, and one that is refused is reset.
func (s *Server) deliverPort(c net.Conn, a *admitted, name string) (kept bool) {
	conn := s.door.caller(c, a)
	if conn == nil {
		return false
	}
	a.heard = time.Since(s.began)
	a.from.Greeted() // there is no hello to wait for
	refuse := func(why whyRefused) bool {
		s.stats.refused[why].Add(1)
		socket.Abort(conn)
		return false
	}
	if d := &s.sockets.descriptors; d.noVisitor(conn) {
		d.refused()
		return refuse(refusedScarce)
	}
	if a.place = s.shares.unfinished.begin(conn, helloBuffer); a.place == nil {
		s.shares.outOfMemory()
		socket.Abort(conn)
		return false
	}
	l := s.opener.open(a, &visitor{conn: conn, place: a.place, name: name, port: true}, nil)
	switch {
	case a.place.end(): // it had to go before
		s.shares.outOfMemory()
		socket.Abort(conn)
		return false
	case a.far != nil:
		s.transit.serve(conn, a)
		return true
	case l.pass != nil && s.opener.passOn(l.pass, conn, nil):
		return false
	}
	return refuse(l.why)
}

// adoptPort serves a visitor of a port that the old process has accepted.
func (s *Server) adoptPort(c sni.Conn, first []byte, from *limits.Connection, behind bool, name string) {
	if len(first) > 0 { // the header of a proxy
		c = &peeked{Conn: c, first: first}
	}
	s.sockets.routing.add()
	s.handlePort(&arrived{c, from, behind}, name)
}

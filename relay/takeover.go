package relay

import (
	"context"
	"net"
	"time"

	"keystay/framing"
	"keystay/relay/limits"
	"keystay/sni"
)

// HandOver is Shutdown for the server of an old process: the new process has its
// listening sockets. Remotes are told to dial again at once, which leads them there.
//
// A visitor that was accepted here, and whose remote is there by now, is passed
// on with the bytes that were read from it: pass gives both to [Server.Adopt] in
// the new process. HandOver closes the connection here afterwards. Where pass
// fails the visitor is refused.
func (s *Server) HandOver(ctx context.Context, pass func(c net.Conn, first []byte) error) error {
	return s.leave(ctx, framing.GoAway{Code: framing.GoAwayTakeover, Text: "another process of this relay has taken over"}, pass)
}

// passOn gives a visitor to the new process. It reports false when c is still the
// caller's.
func (o *opener) passOn(pass func(net.Conn, []byte) error, c net.Conn, first []byte) bool {
	if p, ok := c.(*proxied); ok { // the new process has to know who it is, too
		header, err := p.header()
		if err != nil {
			return false
		}
		c, first = p.Conn, append(header, first...)
	}
	if p, ok := c.(*peeked); ok { // the old process has passed it on to this one, which leaves too
		c, first = p.Conn, append(first[:len(first):len(first)], p.first...)
	}
	if err := pass(c, first); err != nil {
		if left, ok := o.kept.take(refusedLines, time.Minute); ok {
			o.log.Warn("cannot pass a visitor on", "err", err, left)
		}
		return false
	}
	c.Close() // this process's descriptor; the connection lives on
	return true
}

// Adopt serves a connection that the old process accepted on the public port, and
// from which that has read first. A visitor is served on when it has returned.
func (s *Server) Adopt(c net.Conn, first []byte) {
	s.init()
	if c = s.sockets.spared(c); c == nil {
		return
	}
	conn, ok := c.(sni.Conn)
	if !ok {
		c.Close()
		return
	}
	behind := s.front.Load().believesOf(c)
	var from *limits.Connection
	if !behind {
		from, _ = s.bounds.addresses.Connect(c) // the old process has let it in already
	}
	if name := s.ports.at(c.LocalAddr()); name != "" {
		s.ports.visitors.adopt(conn, first, from, behind, name)
		return
	}
	s.sockets.routing.add()
	s.handle(&arrived{&peeked{Conn: conn, first: first}, from, behind})
}

// Expect tells the names that the old process has served until now. They count as away: for TakeoverHold their visitors wait for them. It is
// called before Serve.
func (s *Server) Expect(names []string) {
	s.init()
	s.router.expected.begin(names, TakeoverHold)
}

// Served returns the names that are served now, and those that are expected.
func (s *Server) Served() []string {
	s.init()
	return append(s.presence.served(), s.router.expected.list()...)
}

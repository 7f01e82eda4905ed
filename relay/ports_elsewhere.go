package relay

import (
	"keystay/relay/names"
)

// openElsewhere listens on a TCP port whose remote has come up on another node: its
// visitors know the relay's name alone, and come to any node.
func (s *Server) openElsewhere(name string) {
	if !names.IsPort(name) || !s.ports.offered() {
		return
	}
	number, ok := s.Names.PortOf(name)
	if !ok {
		return
	}
	done, err := s.ports.begin(name, number)
	if err != nil {
		if left, ok := s.lines.unlistened.take(1, undecidedAgain); ok {
			s.log.Warn("cannot listen on a TCP port that a remote has at another node", "port", number, "err", err, left)
		}
		return
	}
	done()
}

// portServed reports whether the remote of a port is connected, here or elsewhere.
func (s *Server) portServed(name string) bool {
	if s.presence.serves(name) {
		return true
	}
	_, ok := asked{}.find(s.Nodes, name, false)
	return ok
}

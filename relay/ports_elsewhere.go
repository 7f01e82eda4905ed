package relay

import (
	"keystay/relay/names"
)

// openElsewhere listens on a TCP port whose remote has come up on another node: its
// visitors know the relay's name alone, and come to any node.
func (p *ports) openElsewhere(name string) {
	if !names.IsPort(name) || !p.offered() {
		return
	}
	number, ok := p.names.PortOf(name)
	if !ok {
		return
	}
	done, err := p.begin(name, number)
	if err != nil {
		if left, ok := p.unlistened.take(1, undecidedAgain); ok {
			p.log.Warn("cannot listen on a TCP port that a remote has at another node", "port", number, "err", err, left)
		}
		return
	}
	done()
}

// serves reports whether the remote of a port is connected, here or elsewhere.
func (r *router) serves(name string) bool {
	if r.presence.serves(name) {
		return true
	}
	_, ok := asked{}.find(r.nodes, name, false)
	return ok
}

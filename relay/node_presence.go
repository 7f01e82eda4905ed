package relay

import (
	"crypto/ed25519"
	"slices"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
)

// A Presence is what other nodes are told of a name that is connected here: the runs
// of the identity that have it, of which there are several only as replicas. Where those of
// one that has handed over serve the name yet, it is that one: its runs are none of its heir's,
// which may be older.
type Presence struct {
	Name    string
	Key     ed25519.PublicKey
	Replica bool
	Runs    []framing.Run
}

// Present returns what is connected here for a name. It is nothing once the server
// leaves: visitors of other nodes are not to come any more.
func (s *Server) Present(name string) (at Presence, ok bool) {
	s.init()
	if s.departure.Load() != nil {
		return Presence{}, false
	}
	return s.presence.present(name)
}

// present returns what is connected for a name.
func (p *presence) present(name string) (at Presence, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := p.names[name]
	if h == nil {
		return Presence{}, false
	}
	at = Presence{Name: name, Key: h.key, Replica: h.replica}
	if !slices.ContainsFunc(h.sessions, func(sess *session) bool { return sess.key.Equal(h.key) }) {
		at.Key = h.sessions[0].key
	}
	for _, sess := range h.sessions {
		if sess.key.Equal(at.Key) && !slices.Contains(at.Runs, sess.run) {
			at.Runs = append(at.Runs, sess.run)
		}
	}
	return at, true
}

// PresentNames returns the names for which Present has something.
func (s *Server) PresentNames() []string {
	s.init()
	if s.departure.Load() != nil {
		return nil
	}
	return s.presence.served()
}

// ClaimedOnNode tells the server of a name that a run has on another node. Visitors
// that wait for the name are asked anew where it leads. What is here of an older run
// loses the name, as on one node: of two runs with one number the higher id is the
// newer, so that all nodes decide alike, whatever they heard first. Of two identities
// that have the name on two nodes the record says whose it is. Where it is not the one of c,
// settled is false, and the caller asks again after a while: the record may come later.
func (s *Server) ClaimedOnNode(c Claimed) (settled bool) {
	s.init()
	s.router.expected.arrived(c.Name)
	s.presence.wake(c.Name)
	s.ports.openElsewhere(c.Name)
	key := s.presence.holder(c.Name)
	if key != nil && !key.Equal(c.Key) {
		if holder, _ := s.Names.HolderOf(c.Name); holder != keyname.Label(c.Key, "") {
			return false
		}
		if !leadsTo(s.Names, key, c.Key) {
			s.cutter.cutLost(c.Name, key)
		}
	}
	s.cutter.giveUp(c, newerOnNodes)
	return true
}

// newerOnNodes reports whether a run takes a name from another one of the identity that
// is on another node.
func newerOnNodes(run, old framing.Run) bool { return run.Compare(old) > 0 }

// newerOnNode returns the denial of a claim where a newer run of the session's identity
// has the name on another node, or nil.
func (sess *session) newerOnNode(c framing.Claim) *framing.Denial {
	nodes := sess.srv.Nodes
	if nodes == nil {
		return nil
	}
	has, ok := nodes.Newest(c.Name)
	if !ok || !has.Key.Equal(sess.key) || has.Replica && c.Replica || !newerOnNodes(has.Run, sess.run) {
		return nil
	}
	return replacedBy(c.Name, true)
}

// Remember notes names that were connected on a node that is gone, so that their
// visitors wait for a while.
func (s *Server) Remember(names []string) { s.Names.Remember(names) }

// SetTurn notes whose turn it is to order a certificate for a name, until when, as the
// nodes have agreed.
func (s *Server) SetTurn(name string, run framing.Run, until time.Time) {
	s.init()
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.names[name]; h != nil {
		h.turn = turn{run: run, until: until}
	}
}

// tell calls changed.
func (p *presence) tell(name string) {
	if p.changed != nil {
		p.changed(name)
	}
}

// tellAll calls changed for all names.
func (p *presence) tellAll() {
	if p.changed == nil {
		return
	}
	for _, name := range p.served() {
		p.changed(name)
	}
}

// wake lets those who wait for a name ask anew where it leads.
func (p *presence) wake(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked(name)
}

func (p *presence) wakeLocked(name string) {
	if c := p.awaited[name]; c != nil {
		close(c)
	}
	delete(p.awaited, name)
}

// hasRun reports whether a run has the name.
func (h *served) hasRun(run framing.Run) bool {
	return slices.ContainsFunc(h.sessions, func(s *session) bool { return s.run == run })
}

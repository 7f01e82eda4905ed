package relay

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"sync"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// errands are what changes elsewhere make this node do, one after the other: whoever
// tells of a change does not wait for it.
type errands struct {
	wake chan struct{} // has room for one

	mu   sync.Mutex
	list []func()
}

func (e *errands) add(f func()) {
	e.mu.Lock()
	e.list = append(e.list, f)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// runErrands does them until the server is closed.
func (s *Server) runErrands() {
	for {
		select {
		case <-s.errands.wake:
		case <-s.ctx.Done():
			return
		}
		s.errands.mu.Lock()
		list := s.errands.list
		s.errands.list = nil
		s.errands.mu.Unlock()
		for _, f := range list {
			func() {
				defer s.panics.Catch("taking up what another node has changed", func() {})
				f()
			}()
		}
	}
}

// CutOf is what a ban is to those who are connected.
func CutOf(b names.Ban) Cut {
	c := Cut{Why: names.Denied{Code: names.DeniedBanned, Text: b.Text()}}
	switch b.Kind {
	case names.BanName:
		c.Name = b.Of
	case names.BanIdentity:
		c.Identity = b.Of
	case names.BanAddress:
		c.Addresses, _ = netip.ParsePrefix(b.Of) // by Check
	}
	return c
}

// enforce cuts whoever is connected against bans, where another node has made some: what
// the lever does on the node on which it is pulled.
func (s *Server) enforce(added []names.Ban) {
	s.cuts.Add(1) // claims that are under way are decided again
	s.errands.add(func() { s.cutBanned(added) })
}

func (s *Server) cutBanned(added []names.Ban) {
	hit := make(map[names.Ban]bool)
	for _, b := range added {
		if b.Kind == names.BanAddress { // visitors have no session of their own
			hit[b] = true
		}
	}
	for _, sess := range s.presence.all(nil) {
		if b, ok := s.Names.Banned("", sess.key, sess.source()); ok {
			hit[b] = true
			continue
		}
		for _, name := range sess.granted() {
			if b, ok := s.Names.Banned(name, nil, netip.Addr{}); ok {
				hit[b] = true
			}
		}
	}
	for h := range s.beyond("") {
		if b, ok := s.Names.Banned(h.name, []byte(h.key), netip.Addr{}); ok {
			hit[b] = true
		}
	}
	for b := range hit {
		s.Cut(CutOf(b))
	}
}

// moved takes a name from whoever is connected for it here where another node has given
// it to another identity, or to nobody; without a name it looks at all.
func (s *Server) moved(name string, holder ed25519.PublicKey) {
	s.cuts.Add(1) // claims that are under way are decided again
	if name != "" && len(s.beyond(name)) > 0 {
		s.errands.add(func() { s.forfeitsBeyond(name) })
	}
	switch {
	case name == "":
		s.errands.add(s.lookAtAll)
	case s.presence.holder(name) != nil:
		s.errands.add(func() { s.forfeits(name, holder) })
	default: // on another node it may have come up for the new holder already
		s.presence.wake(name)
	}
}

// lookAtAll takes all names from those who are connected for them and have lost them.
func (s *Server) lookAtAll() {
	for _, sess := range s.presence.all(nil) {
		for _, name := range sess.granted() {
			if s.Names.IsKeyName(name) {
				continue
			}
			if holder, err := s.Names.Holder(name); err == nil {
				s.forfeits(name, holder)
			}
		}
	}
	s.forfeitsBeyond("")
}

// A held is a name and the identity that has it, as the key of a map.
type held struct{ name, key string }

// beyond returns with whom those visitors of a name are that this node ends although it
// has no link for them: their remote takes them from here, or they were passed on to a
// sibling. Without a name it is those of all.
func (s *Server) beyond(name string) map[held]struct{} {
	all := make(map[held]struct{})
	k := &s.offers
	k.mu.Lock()
	if name == "" || k.names[name] > 0 { // it is asked for each change of the record
		for _, t := range k.all {
			if name == "" || t.name == name {
				all[held{t.name, string(t.host.Key)}] = struct{}{}
			}
		}
	}
	k.mu.Unlock()
	s.siblings.mu.Lock()
	defer s.siblings.mu.Unlock()
	for p := range s.siblings.crossings {
		if name == "" || p.name == name {
			all[held{p.name, string(p.key)}] = struct{}{}
		}
	}
	return all
}

// forfeitsBeyond is forfeits for those visitors of beyond whose name another identity has by
// now.
func (s *Server) forfeitsBeyond(name string) {
	for h := range s.beyond(name) {
		holder, err := s.Names.Holder(h.name)
		if err != nil || holder == nil || string(holder) == h.key || s.Names.IsKeyName(h.name) || s.Names.HasHandedOver([]byte(h.key), holder) {
			continue
		}
		s.cutLost(h.name, ed25519.PublicKey(h.key))
	}
}

// cutLost takes a name from an identity that the record does not give it to any more.
func (s *Server) cutLost(name string, key ed25519.PublicKey) {
	s.Cut(Cut{Identity: keyname.Label(key, ""), Name: name, key: key,
		Why: names.Denied{Name: name, Code: names.DeniedTaken, Text: "the name is not this device's any more: it was given back, taken back or lost"}})
}

// forfeits takes a name from an identity that is connected for it and is not its holder.
// One that has handed over to the holder keeps it until the new holder claims it, as on one node.
func (s *Server) forfeits(name string, holder ed25519.PublicKey) {
	has := s.presence.holder(name)
	if has == nil || has.Equal(holder) {
		return
	}
	if s.Names.HasHandedOver(has, holder) {
		s.presence.pass(name, has, holder)
		return
	}
	for _, key := range s.presence.serving(name, has) {
		if !key.Equal(holder) {
			s.cutLost(name, key)
		}
	}
}

// retiredElsewhere retires an identity that has handed over on another node; without one
// it looks at all.
func (s *Server) retiredElsewhere(key ed25519.PublicKey) {
	s.cuts.Add(1) // claims that are under way are decided again
	if key != nil {
		key = bytes.Clone(key) // the record's
		if len(s.presence.all(key)) > 0 {
			s.retireLater(key)
		}
		return
	}
	s.errands.add(func() {
		seen := make(map[string]bool)
		for _, sess := range s.presence.all(nil) {
			if !seen[string(sess.key)] && s.Names.Retired(&names.Claimant{Key: sess.key}) != nil {
				s.retireLater(sess.key)
			}
			seen[string(sess.key)] = true
		}
	})
}

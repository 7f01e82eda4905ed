package relay

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay/names"
)

// whose returns which keys stand for the identity that c cuts. What it loses for good is lost
// as well by those that have handed over to it: until it has claimed a name it is they who
// serve it, and afterwards they may have visitors.
func (k *cutter) whose(c Cut) func(key []byte) bool {
	is := func(key []byte) bool { return keyname.Label(key, "") == c.Identity }
	if c.key != nil {
		is = func(key []byte) bool { return bytes.Equal(key, c.key) }
	}
	if c.Why.Code == 0 || c.Identity == "" {
		return is
	}
	earlier := make(map[string]bool)
	for _, label := range c.Earlier {
		earlier[label] = true
	}
	if c.Name == "" { // a ban, which is seldom, and counts over any number of hand-overs
		for _, label := range names.Earlier(k.names)(c.Identity) {
			earlier[label] = true
		}
	}
	if own := is; len(earlier) > 0 {
		is = func(key []byte) bool { return own(key) || earlier[keyname.Label(key, "")] }
	}
	if c.Name == "" {
		return is
	}
	var serve []ed25519.PublicKey // with the name, whatever the record says by now
	if has := k.presence.holder(c.Name); has != nil && is(has) {
		serve = k.presence.serving(c.Name, has)
	}
	return func(key []byte) bool {
		return is(key) || slices.ContainsFunc(serve, func(s ed25519.PublicKey) bool { return bytes.Equal(s, key) }) ||
			slices.ContainsFunc(k.names.Heirs(key), func(h ed25519.PublicKey) bool { return is(h) })
	}
}

// concerned returns the sessions that c may cut. Where the identity is known they are its own,
// those that serve the name, and those of all keys that have handed over, to whomever: they are
// few, and the record is asked about none of them that has nothing to do with the name.
func (p *presence) concerned(c *Cut) []*session {
	if c.key == nil {
		return p.all(nil)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	own := string(c.key)
	list := slices.Clone(p.of[own])
	for key := range p.retired {
		if key != own {
			list = append(list, p.of[key]...)
		}
	}
	if h := p.names[c.Name]; h != nil {
		for _, s := range h.sessions {
			if _, retired := p.retired[string(s.key)]; !retired && string(s.key) != own {
				list = append(list, s)
			}
		}
	}
	return list
}

// hasAny reports whether a session has a name for which which returns true, or visitors of one:
// these it may have kept from before another run had the name.
func (sess *session) hasAny(which func(name string) bool) bool {
	return slices.ContainsFunc(sess.granted(), which) ||
		sess.link.CountStreams(func(s *framing.Stream) bool { return which(s.Header().Name) }) > 0
}

// retires notes that an identity has handed over, and reports whether it has sessions.
func (p *presence) retires(key []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.retiresLocked(key)
}

func (p *presence) retiresLocked(key []byte) bool {
	if len(p.of[string(key)]) == 0 {
		return false
	}
	if p.retired == nil {
		p.retired = make(map[string]struct{})
	}
	p.retired[string(key)] = struct{}{}
	return true
}

// leadsTo reports whether an identity has handed over to another one, perhaps by others
// in between.
func leadsTo(n *names.Names, key, heir []byte) bool {
	return slices.ContainsFunc(n.Heirs(key), func(h ed25519.PublicKey) bool { return bytes.Equal(h, heir) })
}

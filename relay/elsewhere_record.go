package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/netip"
	"sync"

	"keystay/internal/keyname"
	"keystay/internal/panics"
	"keystay/relay/names"
)

// errands are what changes elsewhere make this node do, one after the other: whoever
// tells of a change does not wait for it.
type errands struct {
	ctx      context.Context // of the server
	panics   *panics.Log
	names    *names.Names
	presence *presence
	cutter   *cutter
	wake     chan struct{} // has room for one

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

// run does them until the server is closed.
func (e *errands) run() {
	for {
		select {
		case <-e.wake:
		case <-e.ctx.Done():
			return
		}
		e.mu.Lock()
		list := e.list
		e.list = nil
		e.mu.Unlock()
		for _, f := range list {
			func() {
				defer e.panics.Catch("taking up what another node has changed", func() {})
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
func (e *errands) enforce(added []names.Ban) {
	e.cutter.cuts.Add(1) // claims that are under way are decided again
	e.add(func() { e.cutBanned(added) })
}

func (e *errands) cutBanned(added []names.Ban) {
	hit := make(map[names.Ban]bool)
	for _, b := range added {
		if b.Kind == names.BanAddress { // visitors have no session of their own
			hit[b] = true
		}
	}
	for _, sess := range e.presence.all(nil) {
		if b, ok := bannedAs(e.names, "", sess.key, sess.source()); ok {
			hit[b] = true
			continue
		}
		for _, name := range sess.granted() {
			if b, ok := e.names.Banned(name, nil, netip.Addr{}); ok {
				hit[b] = true
			}
		}
	}
	for h := range e.cutter.beyond("") {
		if b, ok := bannedAs(e.names, h.name, []byte(h.key), netip.Addr{}); ok {
			hit[b] = true
		}
	}
	for b := range hit {
		e.cutter.cutSoon(CutOf(b))
	}
}

// moved takes a name from whoever is connected for it here where another node has given
// it to another identity, or to nobody; without a name it looks at all.
func (e *errands) moved(name string, holder ed25519.PublicKey) {
	e.cutter.cuts.Add(1) // claims that are under way are decided again
	if name != "" && len(e.cutter.beyond(name)) > 0 {
		e.add(func() { e.forfeitsBeyond(name) })
	}
	switch {
	case name == "":
		e.add(e.lookAtAll)
	case e.presence.holder(name) != nil:
		e.add(func() { e.forfeits(name, holder) })
	default: // on another node it may have come up for the new holder already
		e.presence.wake(name)
	}
}

// lookAtAll takes all names from those who are connected for them and have lost them.
func (e *errands) lookAtAll() {
	for _, sess := range e.presence.all(nil) {
		for _, name := range sess.granted() {
			if e.names.IsKeyName(name) {
				continue
			}
			if holder, err := e.names.Holder(name); err == nil {
				e.forfeits(name, holder)
			}
		}
	}
	e.forfeitsBeyond("")
}

// A held is a name and the identity that has it, as the key of a map.
type held struct{ name, key string }

// beyond returns with whom those visitors of a name are that this node ends although it
// has no link for them: their remote takes them from here, or they were passed on to a
// sibling. Without a name it is those of all.
func (c *cutter) beyond(name string) map[held]struct{} {
	all := make(map[held]struct{})
	k := c.offers
	k.mu.Lock()
	if name == "" || k.count[name] > 0 { // it is asked for each change of the record
		for _, t := range k.all {
			if name == "" || t.name == name {
				all[held{t.name, string(t.host.Key)}] = struct{}{}
			}
		}
	}
	k.mu.Unlock()
	c.crossings.mu.Lock()
	defer c.crossings.mu.Unlock()
	for p := range c.crossings.all {
		if name == "" || p.name == name {
			all[held{p.name, string(p.key)}] = struct{}{}
		}
	}
	return all
}

// forfeitsBeyond is forfeits for those visitors of beyond whose name another identity has by
// now.
func (e *errands) forfeitsBeyond(name string) {
	for h := range e.cutter.beyond(name) {
		holder, err := e.names.Holder(h.name)
		if err != nil || holder == nil || string(holder) == h.key || e.names.IsKeyName(h.name) || leadsTo(e.names, []byte(h.key), holder) {
			continue
		}
		e.cutter.cutLost(h.name, ed25519.PublicKey(h.key))
	}
}

// bannedAs returns the ban of a name, of an address or of an identity, or of one that has what
// that had.
func bannedAs(n *names.Names, name string, key []byte, from netip.Addr) (b names.Ban, ok bool) {
	if b, ok = n.Banned(name, key, from); ok {
		return b, ok
	}
	for _, heir := range n.Heirs(key) {
		if b, ok = n.Banned("", heir, netip.Addr{}); ok {
			return b, ok
		}
	}
	return b, false
}

// cutLost takes a name from an identity that the record does not give it to any more.
func (c *cutter) cutLost(name string, key ed25519.PublicKey) {
	c.cut(Cut{Identity: keyname.Label(key, ""), Name: name, key: key,
		Why: names.Denied{Name: name, Code: names.DeniedTaken, Text: "the name is not this device's any more: it was given back, taken back or lost"}})
}

// forfeits takes a name from an identity that is connected for it and is not its holder.
// One that has handed over to the holder keeps it until the new holder claims it, as on one node.
func (e *errands) forfeits(name string, holder ed25519.PublicKey) {
	has := e.presence.holder(name)
	if has == nil || has.Equal(holder) {
		return
	}
	switch {
	case leadsTo(e.names, has, holder):
		e.presence.pass(name, has, holder)
	case holder == nil || !leadsTo(e.names, holder, has): // else that is written since
		e.cutter.cutLost(name, has)
	}
}

// retired retires an identity that has handed over on another node; without one
// it looks at all.
func (e *errands) retired(key ed25519.PublicKey) {
	e.cutter.cuts.Add(1) // claims that are under way are decided again
	if key != nil {
		key = bytes.Clone(key) // the record's
		if e.presence.retires(key) {
			e.cutter.retireLater(key)
		}
		return
	}
	e.add(func() {
		seen := make(map[string]bool)
		for _, sess := range e.presence.all(nil) {
			if !seen[string(sess.key)] && e.names.Retired(&names.Claimant{Key: sess.key}) != nil && e.presence.retires(sess.key) {
				e.cutter.retireLater(sess.key)
			}
			seen[string(sess.key)] = true
		}
	})
}

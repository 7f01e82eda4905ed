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
		if b, ok := e.names.Banned("", sess.key, sess.source()); ok {
			hit[b] = true
			continue
		}
		for _, name := range sess.granted() {
			if b, ok := e.names.Banned(name, nil, netip.Addr{}); ok {
				hit[b] = true
			}
		}
	}
	for b := range hit {
		e.cutter.cut(CutOf(b))
	}
}

// moved takes a name from whoever is connected for it here where another node has given
// it to another identity, or to nobody; without a name it looks at all.
func (e *errands) moved(name string, holder ed25519.PublicKey) {
	e.cutter.cuts.Add(1) // claims that are under way are decided again
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
}

// forfeits takes a name from an identity that is connected for it and is not its holder.
// One that has handed over to the holder keeps it until the new holder claims it, as on one node.
func (e *errands) forfeits(name string, holder ed25519.PublicKey) {
	has := e.presence.holder(name)
	if has == nil || has.Equal(holder) {
		return
	}
	if e.names.HasHandedOver(has, holder) {
		e.presence.pass(name, has, holder)
		return
	}
	for _, key := range e.presence.serving(name, has) {
		if key.Equal(holder) {
			continue
		}
		e.cutter.cut(Cut{Identity: keyname.Label(key, ""), Name: name, key: key,
			Why: names.Denied{Name: name, Code: names.DeniedTaken, Text: "the name is not this device's any more: it was given back, taken back or lost"}})
	}
}

// retired retires an identity that has handed over on another node; without one
// it looks at all.
func (e *errands) retired(key ed25519.PublicKey) {
	e.cutter.cuts.Add(1) // claims that are under way are decided again
	if key != nil {
		key = bytes.Clone(key) // the record's
		if len(e.presence.all(key)) > 0 {
			e.cutter.retireLater(key)
		}
		return
	}
	e.add(func() {
		seen := make(map[string]bool)
		for _, sess := range e.presence.all(nil) {
			if !seen[string(sess.key)] && e.names.Retired(&names.Claimant{Key: sess.key}) != nil {
				e.cutter.retireLater(sess.key)
			}
			seen[string(sess.key)] = true
		}
	})
}

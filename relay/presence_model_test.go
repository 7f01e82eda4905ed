package relay

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/memconn"
)

// modelLink returns a link whose remote says nothing.
func modelLink(t *testing.T) *framing.Link {
	a, b := memconn.Pipe(0)
	h := framing.Hello{Key: make([]byte, ed25519.PublicKeySize), Signature: make([]byte, ed25519.SignatureSize)}
	go framing.Client(context.Background(), b, h, framing.Handler{})
	l, _, err := framing.Server(t.Context(), a)
	if err == nil {
		err = l.Welcome(framing.Welcome{}, framing.Handler{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); b.Close() })
	return l
}

// Under claims, losses, hand-overs and ends in any order what a session leads to is what it
// counts, and nothing is left in the end: no name, no key, no memory of rules.
func TestPresenceCountsWhatItLeadsTo(t *testing.T) {
	links := make([]*framing.Link, 8)
	for i := range links {
		links[i] = modelLink(t)
	}
	names := []string{"a.relay.test", "b.relay.test", "c.example.org"}
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		srv := &Server{Domain: "relay.test"}
		srv.shares = newShares(0, nil)
		p, memory := &srv.presence, budget.New(1<<30)
		keys, ids := make([]ed25519.PublicKey, 4), make([]*identity, 4)
		for i := range keys {
			keys[i] = fmt.Appendf(nil, "%032d", i)
			ids[i] = &identity{key: string(keys[i]), memory: memory.Share()}
		}
		var all []*session
		for _, l := range links {
			k := rnd.IntN(len(keys))
			s := &session{srv: srv, link: l, key: keys[k], identity: ids[k],
				run: framing.Run{Number: uint64(rnd.IntN(3)), ID: [16]byte{byte(rnd.IntN(3))}}}
			p.join(s)
			all = append(all, s)
		}
		for step := range 60 {
			s, name, key := all[rnd.IntN(len(all))], names[rnd.IntN(len(names))], keys[rnd.IntN(len(keys))]
			switch rnd.IntN(10) {
			default:
				c := framing.Claim{Name: name, Replica: rnd.IntN(2) == 0}
				for range rnd.IntN(4) {
					c.Rules.Allow = append(c.Rules.Allow, netip.MustParsePrefix("192.0.2.0/24"))
				}
				_ = p.claim(s, c) // whether it gets it
			case 4:
				p.drop(s, func(n string) bool { return n == name })
			case 5:
				p.withdraw(s)
			case 6:
				p.forfeit(name, s.key)
			case 7:
				p.giveUp(Claimed{name, s.key, framing.Run{Number: uint64(rnd.IntN(4)), ID: [16]byte{9}}, rnd.IntN(2) == 0}, framing.Run.Replaces)
			case 8:
				p.inherit([]ed25519.PublicKey{s.key}, key, "relay.test")
			case 9:
				p.pass(name, s.key, key)
			}
			for _, s := range all {
				if n := p.leadingTo(s); n != s.leads || len(s.names) > 3*len(names) {
					t.Fatalf("seed %d, step %d: %d names lead to a session, which counts %d and has %q", seed, step, n, s.leads, s.names)
				}
			}
		}
		for _, s := range all {
			p.leave(s)
		}
		if len(p.names)+len(p.of)+len(p.sessions)+len(p.lost)+len(p.retired) != 0 || memory.Used() != 0 {
			t.Fatalf("seed %d: left over are %d names, %d keys that have handed over, %d bytes of rules", seed, len(p.names), len(p.retired), memory.Used())
		}
	}
}

// leadingTo counts the names that lead to a session which knows of them.
func (p *presence) leadingTo(s *session) (n int) {
	for name, h := range p.names {
		if slices.Contains(h.sessions, s) && slices.Contains(s.names, name) {
			n++
		}
	}
	return n
}

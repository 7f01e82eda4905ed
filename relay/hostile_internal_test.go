package relay

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"testing"

	"keystay/relay/names"
)

// strangers makes n sessions, each of an identity of its own.
func strangers(n int) *Server {
	s := &Server{Domain: "relay.test"}
	for i := range n {
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		binary.BigEndian.PutUint64(key, uint64(i))
		s.presence.join(&session{srv: s, key: key})
	}
	return s
}

// Who loses a name is found among the links of its identity alone, until the last of
// them is over.
func TestSessionsOfAnIdentity(t *testing.T) {
	s := strangers(3)
	a, b := &session{srv: s, key: make([]byte, 32)}, &session{srv: s, key: make([]byte, 32)}
	a.key[31], b.key[31] = 1, 1
	p := &s.presence
	p.leave(a) // which has not come
	p.join(a)
	p.join(b)
	p.outlive(a)
	for _, want := range []int{2, 1, 0} {
		if of, all := p.all(a.key), p.all(nil); len(of) != want || len(all) != 3+want {
			t.Errorf("%d sessions of %d are of the identity, want %d", len(of), len(all), want)
		}
		p.leave(map[int]*session{2: a, 1: b, 0: b}[want])
	}
	if len(p.of) != 3 {
		t.Errorf("%d identities are remembered", len(p.of))
	}
}

// Losing a name, as each one does that a revoked token has opened, costs little for
// each session of somebody else.
func BenchmarkLose(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := strangers(n)
			k := &cutter{cuts: &s.cuts, presence: &s.presence, names: s.Names, offers: new(offers), siblings: &s.siblings, crossings: new(crossings)}
			lost := names.Lost{Key: make([]byte, ed25519.PublicKeySize), Denied: names.Denied{Name: "a.relay.test", Code: names.DeniedToken}}
			lost.Key[31] = 1
			b.ReportAllocs()
			for b.Loop() {
				k.lose(lost)
			}
		})
	}
}

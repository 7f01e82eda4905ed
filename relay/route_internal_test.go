package relay

import (
	"crypto/ed25519"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hostname"
	"keystay/relay/names"
)

// Each case of where a name leads is one answer: the relay's own name first, then
// a remote that is connected, then one that the old process has handed over, and
// then what the record says.
func TestEachNameLeadsToOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grants, err := names.OpenGrants(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer grants.Close()
		r := &router{domain: "relay.test", presence: &presence{names: make(map[string]*served)}, names: &names.Names{Grants: grants}, front: new(fronts)}
		r.names.Begin(r.domain)
		for _, name := range []string{"here.relay.test", "expected.relay.test", "away.relay.test"} {
			if _, err := r.names.Claim(t.Context(), names.Claimant{Name: name, Key: make([]byte, ed25519.PublicKeySize)}); err != nil {
				t.Fatal(err)
			}
		}
		here := &session{}
		r.presence.names["here.relay.test"] = &served{sessions: []*session{here}}
		r.expected.begin([]string{"here.relay.test", "expected.relay.test", "unknown.relay.test"}, TakeoverHold)
		defer r.expected.none()
		check := func(name string, to destination, wait time.Duration) {
			t.Helper()
			l := r.now(name, false, asked{})
			if l.to != to || (l.session == here) != (to == toSession) || (l.wait != nil) != (wait > 0) {
				t.Errorf("%s leads to %+v, want %d", name, l, to)
			}
			if l.wait != nil && time.Until(l.wait.until) != wait {
				t.Errorf("a visitor of %s waits for %v, want %v", name, time.Until(l.wait.until), wait)
			}
		}
		check("relay.test", toRelay, 0)
		check("here.relay.test", toSession, 0)
		check("expected.relay.test", handedOver, TakeoverHold)
		check("unknown.relay.test", handedOver, TakeoverHold) // whatever the record says
		check("away.relay.test", away, HoldTimeout)
		check("nobody.relay.test", nowhere, 0)
		r.expected.arrived("expected.relay.test")
		check("expected.relay.test", away, HoldTimeout) // it was here, and has gone
		if err := grants.Close(); err != nil {
			t.Fatal(err)
		}
		check("nobody.relay.test", untold, HoldTimeout)
		opened := r.now("nobody.relay.test", false, asked{}).wait.opened
		if err := grants.Reopen(); err != nil {
			t.Fatal(err)
		}
		<-opened
		check("nobody.relay.test", nowhere, 0)
	})
}

// BenchmarkRoute makes a name of what a hello asks for and finds the session
// that it leads to, among few and very many names that are up.
func BenchmarkRoute(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		b.Run("names="+strconv.Itoa(n), func(b *testing.B) {
			p := &presence{names: make(map[string]*served, n)}
			wanted := make([][]byte, 0, 1<<12) // not all: a hello is fresh in the cache too
			for i := range n {
				name := fmt.Sprintf("name%d.relay.test", i)
				p.names[name] = &served{sessions: []*session{{}}}
				if i%max(1, n/cap(wanted)) == 0 && len(wanted) < cap(wanted) {
					wanted = append(wanted, []byte(name))
				}
			}
			r := &router{domain: "relay.test", presence: p, front: new(fronts)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				name, err := hostname.Normalize(wanted[i%len(wanted)])
				if err != nil || r.now(name, false, asked{}).to != toSession {
					b.Fatalf("%q leads nowhere: %v", name, err)
				}
				i++
			}
		})
	}
}

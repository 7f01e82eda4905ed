package relay_test

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// A ban of an identity that another node has made cuts who has handed over to it, where that
// one alone is connected.
func TestBanOfAnotherNodeCutsTheEarlierKeyOfAnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, shared, other := sharedRig(t)
		old := newIdentity(t)
		heir, _ := heirOf(t, old)
		d := r.device(old, "a.relay.test").echo("d")
		key := old.key.Public().(ed25519.PublicKey)
		if _, err := other.HandOver(names.Claimant{Key: heir.key.Public().(ed25519.PublicKey)}, []ed25519.PublicKey{key}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", []byte("a.relay.test"))
		shared.tell("retired", key)
		c := r.talking("a.relay.test")
		if _, err := other.Ban(names.Ban{Kind: names.BanIdentity, Of: heir.identity()}); err != nil {
			t.Fatal(err)
		}
		broken(t, c)
		if l := <-d.lost; l.Name != "a.relay.test" || l.Code != framing.DeniedBanned {
			t.Errorf("the remote was told %+v", l)
		}
		r.close()
	})
}

// A name that another node has taken from an identity is lost with the visitors that earlier
// keys of it have on links that go away.
func TestNameThatIsTakenOnAnotherNodeIsLostOnLinksFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, shared, other := sharedRig(t)
		old := newIdentity(t)
		heir, _ := heirOf(t, old)
		before := r.device(old, name, "b.relay.test").echo("d")
		c := r.talking(name)
		key := old.key.Public().(ed25519.PublicKey)
		if _, err := other.HandOver(names.Claimant{Key: heir.key.Public().(ed25519.PublicKey)}, []ed25519.PublicKey{key}); err != nil {
			t.Fatal(err)
		}
		shared.tell("grants", nil)
		shared.tell("retired", key)
		r.device(heir, name)
		if err := before.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Take(name, "", true); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		shared.tell("grants", []byte(name))
		broken(t, c)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the visitor is cut after %v", took)
		}
		r.close()
	})
}

// A device whose name the record gives to another one, which comes up on another node before
// this one has looked at what the record says, loses it like any: with its visitors, and is
// not told that a run of its own has it.
func TestNameThatComesUpForAnotherDeviceElsewhereIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, _, other := sharedRig(t)
		d := r.device(newIdentity(t), name, "b.relay.test").echo("d")
		c := r.talking(name)
		if _, err := other.Take(name, "", true); err != nil {
			t.Fatal(err)
		}
		next := newIdentity(t)
		key := next.key.Public().(ed25519.PublicKey)
		if _, err := other.Claim(t.Context(), names.Claimant{Name: name, Key: key}); err != nil {
			t.Fatal(err)
		}
		if !r.srv.ClaimedOnNode(relay.Claimed{Name: name, Key: key, Run: next.run}) {
			t.Error("not settled")
		}
		broken(t, c)
		d.expectLost(t, name, framing.DeniedTaken)
		d.keeps(t)
		r.close()
	})
}

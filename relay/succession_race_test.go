package relay_test

import (
	"testing"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// A device that takes a new key twice at once keeps its names: also those for which the
// relay has heard of the second key and not the first.
func TestHeirOfAnHeirHasNamesThatTheFirstIsConnectedFor(t *testing.T) {
	r := newRig(t, nil)
	first := newIdentity(t)
	second, toSecond := heirOf(t, first)
	third, toThird := heirOf(t, second)
	before := r.device(first, "a.relay.test", "b.relay.test", "c.relay.test").echo("dev")
	r.device(second).echo("dev").claimBy(t, toSecond, "a.relay.test")
	last := r.device(third).echo("dev")
	last.claimBy(t, toThird, "b.relay.test")
	last.claimBy(t, append(toSecond, toThird...), "c.relay.test", "a.relay.test")
	for _, name := range []string{"a.relay.test", "b.relay.test", "c.relay.test"} {
		r.reaches(name, "dev")
	}
	before.keeps(t)
	last.keeps(t)
}

// A claim that was granted to the old key, and is carried out when it has handed over,
// keeps nothing from its heir.
func TestClaimOfARetiredIdentityUnderWayKeepsNothing(t *testing.T) {
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	heir.run = framing.Run{Number: 9, ID: [16]byte{9}}
	var r *rig
	var after *device
	r = newRig(t, func(s *relay.Server) {
		s.Names.OnChange = func(c names.Change) {
			if c.What == "granted" && c.Name == "a.relay.test" { // it is the old key's, and leads nowhere yet
				after.claimBy(t, list, "b.relay.test")
			}
		}
	})
	after = r.device(heir).echo("heir")
	before := r.device(old).echo("old")
	denied(t, before.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedTaken)
	after.claimBy(t, nil, "a.relay.test")
	r.reaches("a.relay.test", "heir")
}

// A hand-over of an old key that has handed over before changes nothing, whoever is the
// heir of that: not in the record, and not of who is connected.
func TestSecondHeirGetsNothing(t *testing.T) {
	r := newRig(t, nil)
	old := newIdentity(t)
	heir, list := heirOf(t, old)
	thief := newIdentity(t).at(99, 99)
	r.device(old, "a.relay.test", "b.relay.test").echo("dev")
	after := r.device(heir).echo("dev")
	after.claimBy(t, list, "a.relay.test")
	by := r.device(thief)
	for _, name := range []string{"b.relay.test", "a.relay.test"} {
		denied(t, by.Claim(t.Context(), framing.Claim{Name: name, Handovers: framing.Handovers{framing.NewHandover(old.key, thief.key)}}), framing.DeniedTaken)
	}
	after.claimBy(t, list, "b.relay.test")
	r.reaches("b.relay.test", "dev")
	after.keeps(t)
}

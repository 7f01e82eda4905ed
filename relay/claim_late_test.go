package relay_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"keystay/framing"
	"keystay/relay/names"
)

// A device that another node has given a name to gets it at this one, too, which has not
// heard of it and has a link of the one that had the name before.
func TestHeirIsNotRefusedByANodeThatHasNotHeardYet(t *testing.T) {
	for what, handsOver := range map[string]bool{"it has a new key": true, "the name is another device's by now": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const name = "a.relay.test"
				r, late, other := sharedRig(t)
				old := newIdentity(t)
				heir, _ := heirOf(t, old)
				r.device(old, name).echo("before")
				key, heirKey := old.key.Public().(ed25519.PublicKey), heir.key.Public().(ed25519.PublicKey)
				late.fresh = func() { // it was written before; this node hears of it now
					if handsOver {
						if _, err := other.HandOver(names.Claimant{Key: heirKey}, []ed25519.PublicKey{key}); err != nil {
							t.Error(err)
						}
						late.tell("retired", key)
					} else {
						if _, err := other.Take(name, "", true); err != nil {
							t.Error(err)
						}
						if _, err := other.Claim(t.Context(), names.Claimant{Name: name, Key: heirKey}); err != nil {
							t.Error(err)
						}
					}
					late.tell("grants", []byte(name))
				}
				after := r.device(heir).echo("heir")
				claim := framing.Claim{Name: name} // the relay has heard of the hand-over, at the other node
				err := after.Claim(t.Context(), claim)
				var d *framing.Denial
				if err != nil && (handsOver || !errors.As(err, &d) || d.Code != framing.DeniedUnavailable) {
					t.Errorf("at first it is told %v", err)
				}
				synctest.Wait() // until the one before has lost it
				if err := after.Claim(t.Context(), claim); err != nil {
					t.Errorf("it asks again: %v", err)
				}
				if !handsOver { // else both links of the run have visitors
					r.reaches(name, "heir")
				}
				r.close()
			})
		})
	}
}

// While a node cannot hear what the others write, no device is told for good that a name
// is another one's: neither by who is connected for it nor by the record as it was.
func TestNoNameIsRefusedForGoodByANodeThatCannotHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, late, _ := sharedRig(t)
		holder := r.device(newIdentity(t), name)
		wants := r.device(newIdentity(t))
		refused := func(want framing.DenialCode) {
			t.Helper()
			denied(t, wants.Claim(t.Context(), framing.Claim{Name: name}), want)
		}
		both := func() {
			t.Helper()
			late.away = fmt.Errorf("%w: nobody answers", names.ErrClosed)
			refused(framing.DeniedUnavailable)
			late.away = nil
			refused(framing.DeniedTaken)
		}
		both()
		if err := holder.Unclaim(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		both()
		r.close()
	})
}

// A node that cannot hear may not know that a name was granted to the device, or handed over:
// where the policy gives out no new names it says nothing for good, either.
func TestClosedPolicyRefusesNothingForGoodWhereANodeCannotHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, late, _ := sharedRig(t)
		r.srv.Names.SetRules(names.Rules{Policy: names.Closed})
		wants := r.device(newIdentity(t))
		late.away = fmt.Errorf("%w: nobody answers", names.ErrClosed)
		denied(t, wants.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedUnavailable)
		late.away = nil
		denied(t, wants.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedClosed)
		r.close()
	})
}

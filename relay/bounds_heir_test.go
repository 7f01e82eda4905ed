package relay_test

import (
	"crypto/ed25519"
	"testing"
	"testing/synctest"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// What a token allows a name counts for its visitors on the link from before, too, while a
// run has that beside the one with its new key: those who come, and those who are there.
func TestTokenCountsWhileTheKeyChanges(t *testing.T) {
	for what, shownHere := range map[string]bool{"the hand-over is shown here": true, "it was shown at another node": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const name = "b." + zone
				r := memRig(t, func(s *relay.Server) {
					s.SetLimits(limits.Config{Exempt: everybody, Name: limits.Owner{BytesPerMonth: 20000}})
				})
				secret, _, err := r.srv.Names.CreateToken(names.TokenInfo{Names: []string{name}, Limits: map[string]string{"bytes_per_month": "1GiB"}})
				if err != nil {
					t.Fatal(err)
				}
				old := newIdentity(t)
				heir, list := heirOf(t, old)
				before := r.device(old).echo("dev")
				if err := before.Claim(t.Context(), framing.Claim{Name: name, Token: secret}); err != nil {
					t.Fatal(err)
				}
				visitors := []conn{r.talking(name)}
				for range 20 { // more than a name without a token may carry
					r.reaches(name, "dev")
				}
				if !shownHere {
					key, heirKey := old.key.Public().(ed25519.PublicKey), heir.key.Public().(ed25519.PublicKey)
					if _, err := r.srv.Names.HandOver(names.Claimant{Key: heirKey}, []ed25519.PublicKey{key}); err != nil {
						t.Fatal(err)
					}
					list = nil
				}
				after := r.device(heir).echo("dev")
				after.claimBy(t, list, name)
				for range 4 {
					visitors = append(visitors, r.talking(name))
				}
				synctest.Wait()
				if b, a := before.NumStreams(), after.NumStreams(); b < 2 || a < 2 {
					t.Errorf("%d visitors are on the link from before, and %d on the other: this test is void", b, a)
				}
				for _, c := range visitors {
					goesOn(t, c)
				}
				r.close()
			})
		})
	}
}

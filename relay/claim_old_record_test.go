package relay_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

var errAway = fmt.Errorf("%w: nobody answers", names.ErrClosed)

// A ban that another node may have lifted holds while this one cannot hear of that, and
// nobody is told it for good: neither for a name nor a hand-over nor as it connects.
func TestBanThatMayBeLiftedRefusesNothingForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "a.relay.test"
		r, late, other := sharedRig(t)
		id := newIdentity(t)
		heir, list := heirOf(t, id)
		d, h := r.device(id), r.device(heir)
		ban := func(kind names.BanKind, of string) (lift func()) {
			if _, err := other.Ban(names.Ban{Kind: kind, Of: of}); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := other.Unban(kind, of); err != nil {
					t.Error(err)
				}
			}
		}
		both := func(d *device, c framing.Claim, lift func()) {
			t.Helper()
			late.away = errAway
			denied(t, d.Claim(t.Context(), c), framing.DeniedUnavailable)
			late.away = nil
			denied(t, d.Claim(t.Context(), c), framing.DeniedBanned)
			late.fresh = lift
			if err := d.Claim(t.Context(), c); err != nil {
				t.Errorf("once it has heard that the ban is lifted: %v", err)
			}
		}
		both(d, framing.Claim{Name: name}, ban(names.BanName, name))
		both(d, framing.Claim{Name: id.label()}, ban(names.BanName, id.label()))

		lift := ban(names.BanIdentity, id.identity())
		refused := func(want framing.RefusalCode) {
			t.Helper()
			_, err := r.link(id)
			var refusal *framing.Refusal
			if !errors.As(err, &refusal) || refusal.Code != want {
				t.Errorf("it was answered %v, want code %d", err, want)
			}
		}
		late.away = errAway
		refused(framing.RefusedBusy)
		late.away = nil
		refused(framing.RefusedBanned)
		both(h, framing.Claim{Name: name, Handovers: list}, lift)

		lift = ban(names.BanIdentity, heir.identity())
		synctest.Wait() // it has ended the heir's link, and ends no later one
		late.fresh = lift
		r.device(heir)
		r.close()
	})
}

// So it is with what was denied as the name was to be written down.
func TestNameThatIsDeniedAsItIsWrittenIsDeniedForGoodByNoOldRecord(t *testing.T) {
	for want, away := range map[framing.DenialCode]error{framing.DeniedUnavailable: errAway, framing.DeniedBanned: nil} {
		synctest.Test(t, func(t *testing.T) {
			var bans func()
			r, late, other := sharedRig(t, func(s *relay.Server) {
				s.Names.Quota = func(names.Claimant) (time.Duration, bool) {
					bans()
					return 0, true
				}
			})
			bans = func() {
				if _, err := other.Ban(names.Ban{Kind: names.BanName, Of: "a.relay.test"}); err != nil {
					t.Error(err)
				}
			}
			d := r.device(newIdentity(t))
			late.away = away
			denied(t, d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), want)
			r.close()
		})
	}
}

// Where the name made from a key needs a token, one that another node has made may not be
// known here.
func TestNameMadeFromAKeyIsRefusedForGoodByNoOldRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, late, _ := sharedRig(t)
		rules := names.Rules{KeyNames: names.WithToken}
		r.srv.Names.SetRules(rules)
		id := newIdentity(t)
		d := r.device(id)
		claim := framing.Claim{Name: id.label(), Token: "made at another node"}
		late.away = errAway
		denied(t, d.Claim(t.Context(), claim), framing.DeniedUnavailable)
		late.away = nil
		denied(t, d.Claim(t.Context(), claim), framing.DeniedToken)
		late.fresh = func() {
			rules.KeyNames = names.Open
			r.srv.Names.SetRules(rules)
		}
		if err := d.Claim(t.Context(), claim); err != nil {
			t.Errorf("once it has heard: %v", err)
		}
		r.close()
	})
}

// A TCP port that another node has given to the device is its own here, too, where the policy
// gives out no new ones; and it is refused for good by no node that cannot hear of that.
func TestPortIsRefusedForGoodByNoOldRecord(t *testing.T) {
	for policy, want := range map[names.Policy]framing.DenialCode{names.Closed: framing.DeniedClosed, names.WithToken: framing.DeniedToken} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := somePorts{memory: true}
				r, late, other := sharedRig(t, p.offer)
				other.Ports = r.srv.Names.Ports
				r.srv.Names.SetRules(names.Rules{Policy: policy})
				id := newIdentity(t)
				d := r.device(id)
				claim := framing.Claim{Name: sshName, Token: "made at another node"}
				refused := func(code framing.DenialCode) {
					t.Helper()
					_, err := d.Link.Claim(t.Context(), claim)
					denied(t, err, code)
				}
				late.away = errAway
				refused(framing.DeniedUnavailable)
				late.away = nil
				refused(want)
				late.fresh = func() {
					c := names.Claimant{Name: names.PortName(zone, 20022), Key: id.key.Public().(ed25519.PublicKey), Port: 22}
					if _, err := other.Claim(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
				if got, err := d.Link.Claim(t.Context(), claim); err != nil || got.Port != 20022 {
					t.Errorf("once it has heard it has %d, %v", got.Port, err)
				}
				r.close()
			})
		})
	}
}

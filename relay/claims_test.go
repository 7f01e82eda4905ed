package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/relay"
)

// Labels that speak for the whole zone, and what is below them, are given out by
// no policy, unless a token names them in full. Who has one keeps it.
func TestReservedLabels(t *testing.T) {
	exact := relay.Token{Secret: "a token for the very name", Names: []string{"www.relay.test", "x.mail.relay.test"}}
	all := relay.Token{Secret: "a token for all names", Names: []string{"*.relay.test"}}
	for _, p := range []relay.Policy{relay.Open, relay.WithToken} {
		r := newRig(t, policy(p, exact, all))
		id := newIdentity(t)
		d := r.device(id)
		for _, label := range []string{"www", "mail", "openpgpkey", "mta-sts", "autodiscover", "autoconfig", "wpad", "isatap", "ns1", "localhost",
			"admin", "administrator", "hostmaster", "postmaster", "webmaster", "abuse", "security", "imap", "smtp", "pop", "ftp", "login", "api", "x.www"} {
			denied(t, d.Claim(t.Context(), framing.Claim{Name: label + ".relay.test", Token: all.Secret}), framing.DeniedTaken)
		}
		r.allowed(id, "www.below.relay.test", all.Secret) // somebody's own www
		r.allowed(id, "mywww.relay.test", all.Secret)
		r.allowed(id, "www.relay.test", exact.Secret)
		r.allowed(id, "x.mail.relay.test", exact.Secret)
		r.allowed(id, "www.relay.test", "") // it is given
		denied(t, r.claim(newIdentity(t), "www.relay.test", exact.Secret), framing.DeniedTaken)
	}
	r := newRig(t, policy(relay.Closed, exact))
	denied(t, r.claim(newIdentity(t), "www.relay.test", exact.Secret), framing.DeniedClosed)
}

// A link may show eight different tokens for names that it is denied. After that
// a token is not looked at, under any policy; what needs none is given as before.
func TestTokensCannotBeGuessedOnOneLink(t *testing.T) {
	const good = "the one good token"
	for p, name := range map[relay.Policy]string{relay.WithToken: "xyz.relay.test", relay.Open: "www.relay.test"} {
		t.Run(string(p), func(t *testing.T) {
			r := newRig(t, policy(p, relay.Token{Secret: good, Names: []string{name}}))
			id := newIdentity(t)
			d := r.device(id)
			claim := func(name, token string) error {
				return d.Claim(t.Context(), framing.Claim{Name: name, Token: token})
			}
			for i := range 8 {
				for range 2 { // the same once more is no guess
					if claim(name, fmt.Sprintf("guess %d", i)) == nil {
						t.Fatal("a guess was right")
					}
				}
			}
			if err := claim(name, good); err == nil || !strings.Contains(err.Error(), "too many tokens") {
				t.Errorf("the ninth token: %v", err)
			}
			if err := claim(id.label(), good); err != nil {
				t.Errorf("a name that needs no token: %v", err)
			}
			r.allowed(id, name, good) // on another link
			if err := claim(name, "another"); err != nil {
				t.Errorf("a name that it has by now: %v", err)
			}
		})
	}
}

// However many claims are denied, they do not fill the log.
func TestDeniedClaimsDoNotFillTheLog(t *testing.T) {
	r := newRig(t, policy(relay.Closed))
	for range 2 {
		d := r.device(newIdentity(t))
		for i := range 60 {
			denied(t, d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("n%d.relay.test", i), Token: "wrong"}), framing.DeniedClosed)
		}
	}
	if n := strings.Count(r.log.String(), "claim denied"); n != 30 {
		t.Errorf("%d lines for 120 claims, want 30", n)
	}
	if strings.Contains(r.log.String(), "wrong") {
		t.Error("a token is in the log")
	}
}

package names_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

// token makes a token and returns its secret.
func (r *rig) token(info names.TokenInfo) (secret string, made names.TokenInfo) {
	r.t.Helper()
	secret, made, err := r.names.CreateToken(info)
	if err != nil {
		r.t.Fatal(err)
	}
	return secret, made
}

// A token opens the names that it is for, as often and as long as it says, and for
// the device that used it first where it is bound.
func TestTokenOpensWhatItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, policy(names.WithToken))
		defer r.grants().Close()
		a, b := newIdentity(t), newIdentity(t)
		team, _ := r.token(names.TokenInfo{Names: []string{"*.team.relay.test", "www.relay.test"}})
		r.allowed(a, "x.team.relay.test", team)
		r.allowed(b, "y.team.relay.test", team)
		r.allowed(b, "www.relay.test", team) // reserved, and named in full
		for _, name := range []string{"team.relay.test", "z.relay.test", "x.team.relay.test", "mail.relay.test", "a.www.relay.test"} {
			denied(t, r.claim(newIdentity(t), name, team), map[bool]names.Code{true: names.DeniedTaken, false: names.DeniedToken}[strings.Contains(name, "team") || strings.Contains(name, "a.www")])
		}

		twice, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Uses: 2})
		r.allowed(a, "one.relay.test", twice)
		r.allowed(a, "one.relay.test", twice) // which is no further use
		r.allowed(b, "two.relay.test", twice)
		denied(t, r.claim(b, "three.relay.test", twice), names.DeniedToken)
		r.allowed(b, "two.relay.test", "")

		bound, info := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Bind: true})
		r.allowed(a, "mine.relay.test", bound)
		denied(t, r.claim(b, "stolen.relay.test", bound), names.DeniedToken)
		r.allowed(a, "mine2.relay.test", bound)

		brief, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Expires: time.Now().Add(24 * time.Hour)})
		r.allowed(a, "early.relay.test", brief)
		time.Sleep(25 * time.Hour)
		denied(t, r.claim(a, "late.relay.test", brief), names.DeniedToken)

		list, err := r.names.ListTokens()
		if err != nil || len(list) != 4 {
			t.Fatalf("%d tokens, %v", len(list), err)
		}
		for _, got := range list {
			if got.ID == info.ID && (got.Used != 2 || got.BoundTo+".relay.test" != a.label()) {
				t.Errorf("the list has %+v", got)
			}
		}
	})
}

// Of many claims at once a token for one name opens one.
func TestUsesAreCountedOnceEach(t *testing.T) {
	r := newRig(t, policy(names.WithToken))
	once, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Uses: 1})
	answers := make(chan error)
	for i := range 20 {
		id := newIdentity(t)
		go func() { answers <- r.claim(id, strings.Repeat("x", i+1)+".relay.test", once) }()
	}
	granted := 0
	for range 20 {
		if err := <-answers; err == nil {
			granted++
		}
	}
	if granted != 1 {
		t.Errorf("%d names were opened", granted)
	}
}

// The secret is not in the file of the record.
func TestSecretIsKeptNowhere(t *testing.T) {
	r := newRig(t, policy(names.WithToken))
	secret, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Note: "for a friend"})
	r.allowed(newIdentity(t), "a.relay.test", secret)
	r.grants().Close()
	b, err := os.ReadFile(r.grants().File())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "keystay-") || len(secret) < 40 || strings.Contains(string(b), secret[8:]) || !strings.Contains(string(b), "for a friend") {
		t.Errorf("the secret %q is in the file", secret)
	}
}

// A revoked token opens nothing more. What it has opened stays, or goes at once and
// is kept from others, as was said.
func TestRevokedToken(t *testing.T) {
	for _, withNames := range []bool{false, true} {
		r := newRig(t, policy(names.WithToken))
		var lost []string
		r.names.OnLost = func(l names.Lost) { lost = append(lost, l.Denied.Name) }
		a := newIdentity(t)
		secret, info := r.token(names.TokenInfo{Names: []string{"*.relay.test"}})
		other, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}})
		r.allowed(a, "a.relay.test", secret)
		r.allowed(a, "b.relay.test", other)
		released, err := r.names.RevokeToken(info.ID, withNames)
		if err != nil || (len(released) == 1) != withNames || len(lost) != len(released) {
			t.Errorf("released %v, lost %v, %v", released, lost, err)
		}
		denied(t, r.claim(a, "new.relay.test", secret), names.DeniedToken)
		if withNames {
			denied(t, r.claim(a, "a.relay.test", ""), names.DeniedToken)
			denied(t, r.claim(newIdentity(t), "a.relay.test", other), names.DeniedTaken)
		} else {
			r.allowed(a, "a.relay.test", "")
		}
		r.allowed(a, "b.relay.test", "")
		if _, err := r.names.RevokeToken(info.ID, withNames); !errors.Is(err, names.ErrNone) {
			t.Errorf("revoked twice: %v", err)
		}
	}
}

// What a token allows is what its names have, as long as it is there.
func TestNamesHaveTheLimitsOfTheirToken(t *testing.T) {
	r := newRig(t, policy(names.WithToken))
	a := newIdentity(t)
	secret, info := r.token(names.TokenInfo{Names: []string{"*.relay.test"}, Limits: map[string]string{"bandwidth": "1MiB/s", "names": "2"}})
	r.allowed(a, "a.relay.test", secret)
	r.allowed(a, "b.relay.test", secret)
	denied(t, r.claim(a, "c.relay.test", secret), names.DeniedLimit)
	if got, err := r.names.LimitsOf("a.relay.test"); got["bandwidth"] != "1MiB/s" || err != nil {
		t.Errorf("limits %v, %v", got, err)
	}
	if _, err := r.names.RevokeToken(info.ID, false); err != nil {
		t.Fatal(err)
	}
	r.allowed(a, "a.relay.test", "")
	if got, err := r.names.LimitsOf("a.relay.test"); got != nil || err != nil {
		t.Errorf("limits %v of a token that there is not, %v", got, err)
	}
}

// A name made from a key may take a token, or not be given out.
func TestKeyNamesByPolicy(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.KeyNames = names.WithToken })
	a := newIdentity(t)
	secret, info := r.token(names.TokenInfo{Names: []string{"*.elsewhere.relay.test"}})
	denied(t, r.claim(a, a.label(), ""), names.DeniedToken)
	denied(t, r.claim(a, a.label(), "wrong"), names.DeniedToken)
	r.allowed(a, a.label(), secret)
	if _, err := r.names.RevokeToken(info.ID, false); err != nil {
		t.Fatal(err)
	}
	denied(t, r.claim(a, a.label(), secret), names.DeniedToken)
	r.names.SetRules(names.Rules{KeyNames: names.Closed})
	denied(t, r.claim(a, a.label(), secret), names.DeniedClosed)
	r.allowed(a, "a.relay.test", "")
	r.names.SetRules(names.Rules{Policy: names.Closed})
	r.allowed(a, a.label(), "")
}

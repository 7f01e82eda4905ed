package relay_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// claim makes one claim on a link of its own.
func (r *rig) claim(id identity, name, token string) error {
	r.t.Helper()
	d, err := r.link(id)
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	return d.Claim(r.t.Context(), framing.Claim{Name: name, Token: token})
}

// allowed checks that a claim is granted.
func (r *rig) allowed(id identity, name, token string) {
	r.t.Helper()
	if err := r.claim(id, name, token); err != nil {
		r.t.Errorf("claim: %v", err)
	}
}

func policy(p relay.Policy, tokens ...relay.Token) func(*relay.Server) {
	return func(s *relay.Server) { s.Names.Policy, s.Names.Tokens = p, tokens }
}

func TestOpenPolicy(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, "a.relay.test", "")
	r.allowed(a, "a.relay.test", "a token that nobody asked for")
	r.allowed(a, "x.y.a.relay.test", "")
	r.allowed(b, "b.relay.test", "")
	denied(t, r.claim(b, "a.relay.test", ""), framing.DeniedTaken)
	// Names below a held name are the holder's, those beside and above are not.
	denied(t, r.claim(b, "new.a.relay.test", ""), framing.DeniedTaken)
	denied(t, r.claim(b, "deep.new.a.relay.test", ""), framing.DeniedTaken)
	r.allowed(b, "aa.relay.test", "")
	r.allowed(b, "one.two.relay.test", "")
	denied(t, r.claim(a, "two.relay.test", ""), framing.DeniedTaken) // a name below it is b's
	r.allowed(b, "one.two.relay.test", "")
	r.allowed(b, "two.relay.test", "")
	r.allowed(b, "three.two.relay.test", "")
}

// Nobody gets a name above or below somebody else's, whatever the policy and the
// token, and however many levels lie between.
func TestNoNameAboveOrBelowAnothers(t *testing.T) {
	all := relay.Token{Secret: "a token for everything", Names: []string{"*.relay.test", "e.relay.test", "d.e.relay.test", "c.d.e.relay.test", "b.c.d.e.relay.test", "a.b.c.d.e.relay.test"}}
	chain := []string{"e.relay.test", "d.e.relay.test", "c.d.e.relay.test", "b.c.d.e.relay.test", "a.b.c.d.e.relay.test"}
	for _, p := range []relay.Policy{relay.Open, relay.WithToken} {
		for i, mine := range chain {
			r := newRig(t, policy(p, all))
			a, b := newIdentity(t), newIdentity(t)
			r.allowed(a, mine, all.Secret)
			for j, name := range chain {
				if j == i {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s over %s", p, name, mine), func(t *testing.T) {
					denied(t, r.claim(b, name, all.Secret), framing.DeniedTaken)
				})
			}
			r.allowed(b, "xe.relay.test", all.Secret) // beside it
			for _, name := range chain {
				r.allowed(a, name, all.Secret) // the holder itself may have all of them
			}
		}
	}
}

// Of two claims at once, of a name and of one above it, one is denied.
func TestClaimsAtOnceOfANameAndItsParent(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	one, two := r.device(a), r.device(b)
	for i := range relay.MaxNamesPerIdentity {
		parent := fmt.Sprintf("p%d.relay.test", i)
		answers := make(chan error, 2)
		go func() { answers <- one.Claim(t.Context(), framing.Claim{Name: parent}) }()
		go func() { answers <- two.Claim(t.Context(), framing.Claim{Name: "x.y." + parent}) }()
		first, second := <-answers, <-answers
		if (first == nil) == (second == nil) {
			t.Fatalf("the claims of %s and of a name below it: %v; %v", parent, first, second)
		}
		denied(t, errors.Join(first, second), framing.DeniedTaken)
	}
}

// Older versions gave out names above somebody else's. Both holders keep what
// they have, across a restart too, and get nothing new where they touch.
func TestOlderNamesAboveAnothersStand(t *testing.T) {
	r := newServer(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	writeOldRecord(t, r.srv.Names.Grants, r.dir, map[string]identity{"two.relay.test": a, "one.two.relay.test": b}, time.Now())
	r.srv.Names.Grants = openGrants(t, r.dir)
	r.listen()
	for range 2 {
		r.allowed(a, "two.relay.test", "")
		r.allowed(b, "one.two.relay.test", "")
	}
	denied(t, r.claim(b, "three.two.relay.test", ""), framing.DeniedTaken)
	denied(t, r.claim(b, "x.one.two.relay.test", ""), framing.DeniedTaken)
	denied(t, r.claim(a, "x.one.two.relay.test", ""), framing.DeniedTaken)
	r.allowed(a, "three.two.relay.test", "")
}

func TestInvalidNames(t *testing.T) {
	r := newRig(t, nil)
	a := newIdentity(t)
	for _, name := range []string{"", ".", zone, "test", "relay.test.", "a.relay.test.", "A.relay.test", "a.example.com", "arelay.test",
		"a_b.relay.test", "*.relay.test", "192.0.2.1", "-a.relay.test", strings.Repeat("x", 64) + ".relay.test", "a..relay.test", "a\x00.relay.test"} {
		denied(t, r.claim(a, name, ""), framing.DeniedInvalid)
	}
}

func TestTokenPolicy(t *testing.T) {
	r := newRig(t, policy(relay.WithToken,
		relay.Token{Secret: "one", Names: []string{"a.relay.test", "c.relay.test"}},
		relay.Token{Secret: "team", Names: []string{"*.team.relay.test"}},
		relay.Token{Secret: "", Names: []string{"*.relay.test"}}, // a secret that was forgotten admits nobody
	))
	a, b := newIdentity(t), newIdentity(t)
	denied(t, r.claim(a, "a.relay.test", ""), framing.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "wrong"), framing.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "on"), framing.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "team"), framing.DeniedToken)
	denied(t, r.claim(a, "b.relay.test", "one"), framing.DeniedToken)
	denied(t, r.claim(a, "team.relay.test", "team"), framing.DeniedToken)
	denied(t, r.claim(a, "xteam.relay.test", "team"), framing.DeniedToken)
	r.allowed(a, "a.relay.test", "one")
	r.allowed(a, "x.team.relay.test", "team")
	r.allowed(a, "x.y.team.relay.test", "team")
	// A grant outlives the token: it belongs to the identity.
	r.allowed(a, "a.relay.test", "")
	denied(t, r.claim(b, "a.relay.test", "one"), framing.DeniedTaken)
	denied(t, r.claim(a, "new.a.relay.test", ""), framing.DeniedToken)
	r.allowed(b, b.label(), "")
}

func TestClosedPolicy(t *testing.T) {
	r := newRig(t, policy(relay.Closed))
	a := newIdentity(t)
	denied(t, r.claim(a, "a.relay.test", ""), framing.DeniedClosed)
	r.allowed(a, a.label(), "")
	r = newRig(t, policy("a word that config does not let through"))
	denied(t, r.claim(a, "a.relay.test", ""), framing.DeniedClosed)
}

// A label made from a key is that key's alone, and so is what is below it,
// whether or not the key has ever been here.
func TestKeyLabels(t *testing.T) {
	for _, p := range []relay.Policy{relay.Open, relay.Closed, relay.WithToken} {
		r := newRig(t, policy(p))
		a, b := newIdentity(t), newIdentity(t)
		denied(t, r.claim(b, a.label(), ""), framing.DeniedTaken)
		denied(t, r.claim(b, "below."+a.label(), ""), framing.DeniedTaken)
		r.allowed(a, a.label(), "")
		denied(t, r.claim(b, "below."+a.label(), ""), framing.DeniedTaken)
		denied(t, r.claim(b, strings.Repeat("a", 32)+"."+zone, ""), framing.DeniedTaken)
	}
	r := newRig(t, nil)
	a := newIdentity(t)
	r.allowed(a, "below."+a.label(), "")
	r.allowed(a, strings.Repeat("a", 31)+"."+zone, "")
}

func TestMaxNamesPerIdentity(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	d := r.device(a)
	for i := range relay.MaxNamesPerIdentity {
		if err := d.Claim(t.Context(), framing.Claim{Name: fmt.Sprintf("n%d.relay.test", i)}); err != nil {
			t.Fatal(err)
		}
	}
	denied(t, d.Claim(t.Context(), framing.Claim{Name: "more.relay.test"}), framing.DeniedLimit)
	if err := d.Claim(t.Context(), framing.Claim{Name: "n0.relay.test"}); err != nil {
		t.Errorf("a name that it has: %v", err)
	}
	r.allowed(b, "more.relay.test", "")
}

func TestMaxGrants(t *testing.T) {
	r := newRig(t, nil)
	grants := r.srv.Names.Grants
	if err := grants.SetCount(relay.MaxGrants - 1); err != nil {
		t.Fatal(err)
	}
	a := newIdentity(t)
	r.allowed(a, "last.relay.test", "")
	denied(t, r.claim(a, "more.relay.test", ""), framing.DeniedLimit)
	r.allowed(a, "last.relay.test", "")
}

// A name is free again when its holder has not been seen for GrantTime; until
// then it is not, also across a restart.
func TestGrantsLast(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	for _, name := range []string{"old.relay.test", "kept.relay.test", "fresh.relay.test"} {
		r.allowed(a, name, "")
	}
	r.close()
	grants := r.srv.Names.Grants
	if err := errors.Join(grants.Backdate("old.relay.test", relay.GrantTime+time.Hour),
		grants.Backdate("kept.relay.test", relay.GrantTime-time.Hour)); err != nil {
		t.Fatal(err)
	}
	grants.Close()

	again := newRig(t, func(s *relay.Server) {
		s.Names.Grants.Close()
		s.Names.Grants = openGrants(t, r.dir)
	})
	denied(t, again.claim(b, "kept.relay.test", ""), framing.DeniedTaken)
	denied(t, again.claim(b, "fresh.relay.test", ""), framing.DeniedTaken)
	again.refused("old.relay.test", unrecognizedName) // an expired name is nobody's
	grants = again.srv.Names.Grants
	again.allowed(b, "old.relay.test", "")
	denied(t, again.claim(a, "old.relay.test", ""), framing.DeniedTaken)
	if n := grants.Count(); n != 3 {
		t.Errorf("%d names are counted where 3 are, since one took the place of another", n)
	}
	// Being seen starts the time anew.
	again.allowed(a, "kept.relay.test", "")
	if err := grants.Backdate("kept.relay.test", relay.GrantTime-time.Hour); err != nil {
		t.Fatal(err)
	}
	denied(t, again.claim(b, "kept.relay.test", ""), framing.DeniedTaken)
}

// A link that lasts keeps its names when it ends, however long ago it claimed
// them.
func TestLongLinkKeepsItsNames(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	d := r.device(a, "a.relay.test")
	if err := r.srv.Names.Grants.Backdate("a.relay.test", relay.GrantTime-time.Hour); err != nil {
		t.Fatal(err)
	}
	d.Close()
	r.close() // waits until the session is over
	if err := r.srv.Names.Grants.Backdate("a.relay.test", 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	again := newRig(t, func(s *relay.Server) { s.Names.Grants = r.srv.Names.Grants })
	denied(t, again.claim(b, "a.relay.test", ""), framing.DeniedTaken)
}

// When the record cannot be read, nobody is told that a name is taken for good.
func TestBrokenRecord(t *testing.T) {
	r := newRig(t, nil)
	if err := r.srv.Names.Grants.Spoil("a.relay.test"); err != nil {
		t.Fatal(err)
	}
	denied(t, r.claim(newIdentity(t), "a.relay.test", ""), framing.DeniedUnavailable)
}

func TestStateDir(t *testing.T) {
	dir := t.TempDir() + "/new/state"
	g, err := relay.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for path, mode := range map[string]os.FileMode{dir: 0o700, dir + "/names.db": 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	// flock tells two open files apart as it does two processes.
	if _, err := relay.OpenGrants(dir); !errors.Is(err, relay.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := relay.OpenGrants(dir + "/names.db"); err == nil || errors.Is(err, relay.ErrInUse) {
		t.Errorf("a file as the folder: %v", err)
	}
}

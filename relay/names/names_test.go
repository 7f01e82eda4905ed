package names_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/relay/names"
)

func TestOpenPolicyGivesANameToTheFirst(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, "a.relay.test", "")
	r.allowed(a, "a.relay.test", "a token that nobody asked for")
	r.allowed(a, "x.y.a.relay.test", "")
	r.allowed(b, "b.relay.test", "")
	denied(t, r.claim(b, "a.relay.test", ""), names.DeniedTaken)
	// Names below a held name are the holder's, those beside and above are not.
	denied(t, r.claim(b, "new.a.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(b, "deep.new.a.relay.test", ""), names.DeniedTaken)
	r.allowed(b, "aa.relay.test", "")
	r.allowed(b, "one.two.relay.test", "")
	denied(t, r.claim(a, "two.relay.test", ""), names.DeniedTaken) // a name below it is b's
	r.allowed(b, "one.two.relay.test", "")
	r.allowed(b, "two.relay.test", "")
	r.allowed(b, "three.two.relay.test", "")
}

// Nobody gets a name above or below somebody else's, whatever the policy and
// however many levels lie between, by a token that does not name it in full.
func TestNoNameAboveOrBelowAnothers(t *testing.T) {
	all := names.Token{Secret: "a token for everything", Names: []string{"*.relay.test"}}
	chain := []string{"e.relay.test", "d.e.relay.test", "c.d.e.relay.test", "b.c.d.e.relay.test", "a.b.c.d.e.relay.test"}
	for _, p := range []names.Policy{names.Open, names.WithToken} {
		for i, mine := range chain {
			r := newRig(t, policy(p, all))
			a, b := newIdentity(t), newIdentity(t)
			r.allowed(a, mine, all.Secret)
			for j, name := range chain {
				if j == i {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s over %s", p, name, mine), func(t *testing.T) {
					denied(t, r.claim(b, name, all.Secret), names.DeniedTaken)
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
	for i := range names.MaxNamesPerIdentity {
		parent := fmt.Sprintf("p%d.relay.test", i)
		answers := make(chan error, 2)
		go func() { answers <- r.claim(a, parent, "") }()
		go func() { answers <- r.claim(b, "x.y."+parent, "") }()
		first, second := <-answers, <-answers
		if (first == nil) == (second == nil) {
			t.Fatalf("the claims of %s and of a name below it: %v; %v", parent, first, second)
		}
		denied(t, errors.Join(first, second), names.DeniedTaken)
	}
}

// Older versions gave out names above somebody else's. Both holders keep what
// they have, across a restart too, and get nothing new where they touch.
func TestOlderNamesAboveAnothersStand(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	writeOldRecord(t, r.grants(), r.dir, map[string]identity{"two.relay.test": a, "one.two.relay.test": b}, time.Now())
	r.names.Grants = openGrants(t, r.dir)
	for range 2 {
		r.allowed(a, "two.relay.test", "")
		r.allowed(b, "one.two.relay.test", "")
	}
	denied(t, r.claim(b, "three.two.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(b, "x.one.two.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(a, "x.one.two.relay.test", ""), names.DeniedTaken)
	r.allowed(a, "three.two.relay.test", "")
}

func TestTokenPolicyGivesNamesToTheirTokens(t *testing.T) {
	r := newRig(t, policy(names.WithToken,
		names.Token{Secret: "one", Names: []string{"a.relay.test", "c.relay.test"}},
		names.Token{Secret: "team", Names: []string{"*.team.relay.test"}},
		names.Token{Secret: "", Names: []string{"*.relay.test"}}, // a secret that was forgotten admits nobody
	))
	a, b := newIdentity(t), newIdentity(t)
	denied(t, r.claim(a, "a.relay.test", ""), names.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "wrong"), names.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "on"), names.DeniedToken)
	denied(t, r.claim(a, "a.relay.test", "team"), names.DeniedToken)
	denied(t, r.claim(a, "b.relay.test", "one"), names.DeniedToken)
	denied(t, r.claim(a, "team.relay.test", "team"), names.DeniedToken)
	denied(t, r.claim(a, "xteam.relay.test", "team"), names.DeniedToken)
	r.allowed(a, "a.relay.test", "one")
	r.allowed(a, "x.team.relay.test", "team")
	r.allowed(a, "x.y.team.relay.test", "team")
	// A grant outlives the token: it belongs to the identity.
	r.allowed(a, "a.relay.test", "")
	denied(t, r.claim(b, "a.relay.test", "one"), names.DeniedTaken)
	denied(t, r.claim(a, "new.a.relay.test", ""), names.DeniedToken)
	r.allowed(b, b.label(), "")
}

func TestClosedPolicyGivesKeyNamesAlone(t *testing.T) {
	r := newRig(t, policy(names.Closed))
	a := newIdentity(t)
	denied(t, r.claim(a, "a.relay.test", ""), names.DeniedClosed)
	r.allowed(a, a.label(), "")
	r = newRig(t, policy("a word that config does not let through"))
	denied(t, r.claim(a, "a.relay.test", ""), names.DeniedClosed)
}

// A label made from a key is that key's alone, and so is what is below it,
// whether or not the key has ever been here.
func TestKeyNameIsThatKeysAlone(t *testing.T) {
	for _, p := range []names.Policy{names.Open, names.Closed, names.WithToken} {
		r := newRig(t, policy(p))
		a, b := newIdentity(t), newIdentity(t)
		denied(t, r.claim(b, a.label(), ""), names.DeniedTaken)
		denied(t, r.claim(b, "below."+a.label(), ""), names.DeniedTaken)
		r.allowed(a, a.label(), "")
		denied(t, r.claim(b, "below."+a.label(), ""), names.DeniedTaken)
		denied(t, r.claim(b, strings.Repeat("a", 32)+"."+zone, ""), names.DeniedTaken)
	}
	r := newRig(t, nil)
	a := newIdentity(t)
	r.allowed(a, "below."+a.label(), "")
	r.allowed(a, strings.Repeat("a", 31)+"."+zone, "")
}

func TestMaxNamesPerIdentity(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	for i := range names.MaxNamesPerIdentity {
		if err := r.claim(a, fmt.Sprintf("n%d.relay.test", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	denied(t, r.claim(a, "more.relay.test", ""), names.DeniedLimit)
	if err := r.claim(a, "n0.relay.test", ""); err != nil {
		t.Errorf("a name that it has: %v", err)
	}
	r.allowed(b, "more.relay.test", "")
}

func TestFullRecordTakesNoNewName(t *testing.T) {
	r := newRig(t, nil)
	grants := r.grants()
	if err := grants.SetCount(names.MaxGrants - 1); err != nil {
		t.Fatal(err)
	}
	a := newIdentity(t)
	r.allowed(a, "last.relay.test", "")
	denied(t, r.claim(a, "more.relay.test", ""), names.DeniedLimit)
	r.allowed(a, "last.relay.test", "")
}

// A name is free again when its holder has not been seen for GrantTime; until
// then it is not, also across a restart.
func TestNameIsFreeAgainAfterGrantTime(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	for _, name := range []string{"old.relay.test", "kept.relay.test", "fresh.relay.test"} {
		r.allowed(a, name, "")
	}
	grants := r.grants()
	if err := errors.Join(grants.Backdate("old.relay.test", names.GrantTime+names.GraceTime+time.Hour),
		grants.Backdate("kept.relay.test", names.GrantTime-time.Hour)); err != nil {
		t.Fatal(err)
	}
	grants.Close()

	again := newRig(t, func(n *names.Names) {
		n.Grants.(*names.Grants).Close()
		n.Grants = openGrants(t, r.dir)
	})
	denied(t, again.claim(b, "kept.relay.test", ""), names.DeniedTaken)
	denied(t, again.claim(b, "fresh.relay.test", ""), names.DeniedTaken)
	if known, _, err := again.names.Look("old.relay.test"); known || err != nil {
		t.Errorf("a name that has expired is somebody's, or %v", err)
	}
	grants = again.grants()
	again.allowed(b, "old.relay.test", "")
	denied(t, again.claim(a, "old.relay.test", ""), names.DeniedTaken)
	if n := grants.Count(); n != 3 {
		t.Errorf("%d names are counted where 3 are, since one took the place of another", n)
	}
	// Being seen starts the time anew.
	again.allowed(a, "kept.relay.test", "")
	if err := grants.Backdate("kept.relay.test", names.GrantTime-time.Hour); err != nil {
		t.Fatal(err)
	}
	denied(t, again.claim(b, "kept.relay.test", ""), names.DeniedTaken)
}

func TestRecordIsPrivateAndOpenOnce(t *testing.T) {
	dir := t.TempDir() + "/new/state"
	g, err := names.OpenGrants(dir)
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
	if _, err := names.OpenGrants(dir); !errors.Is(err, names.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := names.OpenGrants(dir + "/names.db"); err == nil || errors.Is(err, names.ErrInUse) {
		t.Errorf("a file as the folder: %v", err)
	}
}

// Labels that speak for the whole zone, and what is below them, are given out by
// no policy, unless a token names them in full. Who has one keeps it.
func TestReservedLabelsNeedATokenThatNamesThem(t *testing.T) {
	exact := names.Token{Secret: "a token for the very name", Names: []string{"www.relay.test", "x.mail.relay.test"}}
	all := names.Token{Secret: "a token for all names", Names: []string{"*.relay.test"}}
	for _, p := range []names.Policy{names.Open, names.WithToken} {
		r := newRig(t, policy(p, exact, all))
		id := newIdentity(t)
		for _, label := range []string{"www", "mail", "openpgpkey", "mta-sts", "autodiscover", "autoconfig", "wpad", "isatap", "ns1", "localhost",
			"www1", "www-2", "mx1", "mx01", "ns10", "smtp2", "lyncdiscover", "enterpriseregistration", "enterpriseenrollment", "msoid",
			"sip", "ldap", "kerberos", "pki", "ca", "ocsp", "cpanel", "whm", "secure", "id", "sso", "auth", "account", "accounts", "keystay",
			"noreply", "no-reply", "mailer-daemon", "admin1", "x.www1", "admin", "administrator", "hostmaster", "postmaster", "webmaster", "abuse", "security", "imap", "smtp", "pop", "ftp", "login", "api", "x.www"} {
			denied(t, r.claim(id, label+".relay.test", all.Secret), names.DeniedToken)
		}
		r.allowed(id, "www.below.relay.test", all.Secret) // somebody's own www
		r.allowed(id, "mywww.relay.test", all.Secret)
		r.allowed(id, "www1a.relay.test", all.Secret)
		r.allowed(id, "123.relay.test", all.Secret)
		r.allowed(id, "www.relay.test", exact.Secret)
		r.allowed(id, "x.mail.relay.test", exact.Secret)
		r.allowed(id, "www.relay.test", "") // it is given
		denied(t, r.claim(newIdentity(t), "www.relay.test", exact.Secret), names.DeniedTaken)
	}
	r := newRig(t, policy(names.Closed, exact))
	denied(t, r.claim(newIdentity(t), "www.relay.test", exact.Secret), names.DeniedClosed)
}

// A token that names a name in full is the operator's word: somebody else's grant
// below it does not keep the name from its holder, and keeps its own holder. A
// token for all names there, and no token, do not reach that far, and a grant above
// stands.
func TestTokenForTheVeryNameBeatsAGrantBelow(t *testing.T) {
	exact := names.Token{Secret: "a token for the very name", Names: []string{"a.relay.test", "x.taken.relay.test"}}
	all := names.Token{Secret: "a token for all names", Names: []string{"*.relay.test"}}
	for _, p := range []names.Policy{names.Open, names.WithToken} {
		r := newRig(t, policy(p, exact, all))
		child, parent := newIdentity(t), newIdentity(t)
		r.allowed(child, "child.a.relay.test", all.Secret)
		r.allowed(child, "taken.relay.test", all.Secret)
		denied(t, r.claim(parent, "a.relay.test", all.Secret), names.DeniedTaken)
		denied(t, r.claim(parent, "a.relay.test", ""), names.DeniedTaken)
		denied(t, r.claim(parent, "x.taken.relay.test", exact.Secret), names.DeniedTaken)
		r.allowed(parent, "a.relay.test", exact.Secret)
		r.allowed(parent, "a.relay.test", "")
		r.allowed(child, "child.a.relay.test", "")
		denied(t, r.claim(child, "more.a.relay.test", all.Secret), names.DeniedTaken)
		denied(t, r.claim(parent, "child.a.relay.test", exact.Secret), names.DeniedTaken)
	}
	r := newRig(t, policy(names.Closed, exact))
	denied(t, r.claim(newIdentity(t), "a.relay.test", exact.Secret), names.DeniedClosed)
}

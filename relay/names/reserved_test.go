package names_test

import (
	"errors"
	"testing"

	"keystay/relay/names"
)

// Names of the operator's own patterns, from the file or by the lever, go only to a
// token that has the very name; so does what is below them.
func TestOperatorsPatternsAreReserved(t *testing.T) {
	r := newRig(t, func(n *names.Names) { n.Reserved = []string{"shop", "team-*"} })
	for _, p := range []string{"bank*", "deep.zone.relay.test", "bücher"} {
		if _, err := r.names.Reserve(p, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	a := newIdentity(t)
	reserved := []string{"shop", "a.shop", "team-a", "x.team-b", "bank", "banking", "my.bank2", "deep.zone", "a.deep.zone", "xn--bcher-kva"}
	check := func() {
		t.Helper()
		for _, name := range reserved {
			denied(t, r.claim(a, name+".relay.test", ""), names.DeniedToken)
		}
	}
	check()
	for _, name := range []string{"shops", "ashop", "team", "my-bank", "zone", "other.zone"} {
		r.allowed(a, name+".relay.test", "")
	}
	all, _ := r.token(names.TokenInfo{Names: []string{"*.relay.test"}})
	denied(t, r.claim(a, "shop.relay.test", all), names.DeniedToken)
	very, _ := r.token(names.TokenInfo{Names: []string{"shop.relay.test"}})
	r.allowed(a, "shop.relay.test", very)
	r.allowed(a, "shop.relay.test", "")
	reserved = reserved[1:]

	r.grants().Close()
	r.names = &names.Names{Grants: openGrants(t, r.dir), Rules: r.names.Rules}
	r.names.Begin(zone)
	check()
	if err := r.names.Unreserve("bank*"); err != nil {
		t.Fatal(err)
	}
	r.allowed(a, "banking.relay.test", "")
	if list, err := r.names.Reservations(); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := r.names.Unreserve("bank*"); !errors.Is(err, names.ErrNone) {
		t.Errorf("taken away twice: %v", err)
	}
	if _, err := r.names.Reserve("not.below.other.test.", ""); err == nil {
		t.Error("a name of another zone is reserved")
	}
}

// What looks like the relay's own name, or like a reserved one, is reserved: in other
// scripts, with digits for letters, and with hyphens.
func TestLookAlikesAreReserved(t *testing.T) {
	r := newRig(t, nil)
	a := newIdentity(t)
	for what, name := range map[string]string{
		"digit for a letter":        "re1ay",
		"with a hyphen":             "re-lay",
		"the whole zone":            "relay-test",
		"the zone without its dot":  "relaytest",
		"Cyrillic а":                "xn--rely-73d", // relаy
		"Cyrillic in a word":        "xn--dmin-43d", // аdmin
		"two letters for one":       "rnail",
		"a digit in a word":         "1ogin",
		"a zero":                    "0auth",
		"below a name that is like": "a.1ogin",
	} {
		err := r.claim(a, name+".relay.test", "")
		var d *names.Denied
		if !errors.As(err, &d) || d.Code != names.DeniedToken {
			t.Errorf("%s, %s: %v", what, name, err)
		}
	}
	for _, name := range []string{"relays", "delay", "xn--bcher-kva", "modern", "mall", "login-page", "rna"} {
		r.allowed(a, name+".relay.test", "")
	}
}

// Where there is no room for another pattern, one that is there gets a new note.
func TestPatternIsReplacedWhereThereIsNoRoom(t *testing.T) {
	r := newRig(t, nil)
	if err := r.grants().Reserve(names.MaxReserved - 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.names.Reserve("last", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.names.Reserve("more", ""); err == nil {
		t.Fatal("there is room without end")
	}
	if again, err := r.names.Reserve("p0", "a note"); err != nil || again.Note != "a note" {
		t.Errorf("%+v, %v", again, err)
	}
}

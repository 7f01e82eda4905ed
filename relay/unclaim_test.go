package relay_test

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay"
)

// A name that a device takes off one link leads there no more, and stays the device's:
// another link of it may have it. The other names of the link are untouched.
func TestUnclaimTakesOneNameOffALink(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id, "a.relay.test", "b.relay.test").echo("first")
	r.reaches("a.relay.test", "first")
	if err := d.Unclaim(t.Context(), "a.relay.test"); err != nil {
		t.Fatal(err)
	}
	r.device(id, "a.relay.test").echo("second")
	for range 3 {
		r.reaches("a.relay.test", "second")
		r.reaches("b.relay.test", "first")
	}
	var denial *framing.Denial
	other := r.device(newIdentity(t))
	if err := other.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}); !errors.As(err, &denial) || denial.Code != framing.DeniedTaken {
		t.Errorf("another device: %v", err)
	}
	if err := d.Unclaim(t.Context(), "c.relay.test"); err != nil { // which it does not have
		t.Error(err)
	}
}

// Each word makes another label from a key, for that key alone. A link has as many of
// them as a device may hold names, whatever its other names.
func TestWordsMakeLabelsFromAKey(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.Names.Rules.NamesPerIdentity = 3 })
	id := newIdentity(t)
	d := r.device(id, "a.relay.test", "b.relay.test").echo("d")
	claim := func(d *device, word string) error {
		name := keyname.Label(id.key.Public().(ed25519.PublicKey), word) + "." + zone
		return d.Claim(t.Context(), framing.Claim{Name: name, Word: word})
	}
	for _, word := range []string{"", "blog", "shop", "blog"} {
		if err := claim(d, word); err != nil {
			t.Fatalf("%q: %v", word, err)
		}
	}
	r.reaches(keyname.Label(id.key.Public().(ed25519.PublicKey), "blog")+"."+zone, "d")
	var denial *framing.Denial
	if err := claim(d, "more"); !errors.As(err, &denial) || denial.Code != framing.DeniedLimit {
		t.Errorf("one word too many: %v", err)
	}
	other := r.device(newIdentity(t))
	if err := claim(other, "blog"); !errors.As(err, &denial) || denial.Code != framing.DeniedTaken {
		t.Errorf("another device's: %v", err)
	}
	label := keyname.Label(id.key.Public().(ed25519.PublicKey), "blog") + "." + zone
	if err := d.Claim(t.Context(), framing.Claim{Name: label, Word: "shop"}); !errors.As(err, &denial) || denial.Code != framing.DeniedTaken {
		t.Errorf("with another word: %v", err)
	}
}

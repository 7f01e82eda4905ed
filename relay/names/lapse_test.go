package names_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

// A name that was given back, taken back, or not used for too long is kept from
// every other device for the time that the last one may have a certificate for it;
// the last one gets it again; and what is below it and above it is free.
func TestLapsedNameIsKeptFromOthers(t *testing.T) {
	for how, lapse := range map[string]func(r *rig, a identity) error{
		"given back": func(r *rig, a identity) error { return r.names.Release("a.relay.test", public(a)) },
		"taken back": func(r *rig, a identity) error { _, err := r.names.Take("a.relay.test", "", false); return err },
		"expired": func(r *rig, a identity) error {
			return r.grants().Backdate("a.relay.test", names.GrantTime+time.Hour)
		},
		"expired and swept": func(r *rig, a identity) error {
			return errors.Join(r.grants().Backdate("a.relay.test", names.GrantTime+time.Hour), r.grants().Sweep())
		},
		"expired early": func(r *rig, a identity) error {
			r.names.SetRules(names.Rules{ExpireUnused: time.Hour})
			return nil
		},
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.grants().Close()
				a, b := newIdentity(t), newIdentity(t)
				r.allowed(a, "a.relay.test", "")
				if err := lapse(r, a); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
				if known, _, err := r.names.Look("a.relay.test"); known || err != nil {
					t.Errorf("visitors wait for it, or %v", err)
				}
				denied(t, r.claim(b, "a.relay.test", ""), names.DeniedTaken)
				time.Sleep(names.GraceTime - 4*time.Hour)
				denied(t, r.claim(b, "a.relay.test", ""), names.DeniedTaken)
				time.Sleep(5 * time.Hour)
				r.allowed(b, "a.relay.test", "")
				denied(t, r.claim(a, "a.relay.test", ""), names.DeniedTaken)
			})
		})
		t.Run(how+", and its device comes back", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.grants().Close()
				a, b := newIdentity(t), newIdentity(t)
				r.allowed(a, "a.relay.test", "")
				if err := lapse(r, a); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
				r.allowed(b, "x.a.relay.test", "") // nobody has a
				denied(t, r.claim(a, "a.relay.test", ""), names.DeniedTaken)
				r.names.SetRules(names.Rules{Policy: names.Closed})
				denied(t, r.claim(a, "a.relay.test", ""), names.DeniedTaken)
			})
		})
	}
}

// The device that had the name gets it back, where the policy gives out names.
func TestLapsedNameGoesBackToItsDevice(t *testing.T) {
	r := newRig(t, nil)
	a := newIdentity(t)
	for i := range names.MaxNamesPerIdentity {
		r.allowed(a, fmt.Sprintf("n%d.relay.test", i), "")
	}
	if err := r.names.Release("n0.relay.test", public(a)); err != nil {
		t.Fatal(err)
	}
	r.names.SetRules(names.Rules{Policy: names.Closed})
	denied(t, r.claim(a, "n0.relay.test", ""), names.DeniedClosed)
	r.names.SetRules(names.Rules{})
	denied(t, r.claim(a, "another.relay.test", ""), names.DeniedLimit) // it counts while it is kept for it
	r.allowed(a, "n0.relay.test", "")
}

// The operator can free a name that is kept.
func TestOperatorFreesAName(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	var lost []string
	r.names.OnLost = func(l names.Lost) { lost = append(lost, l.Denied.Name+": "+l.Denied.Text) }
	r.allowed(a, "a.relay.test", "")
	if _, err := r.names.Take("a.relay.test", "phishing", false); err != nil {
		t.Fatal(err)
	}
	if len(lost) != 1 || lost[0] != "a.relay.test: the relay's operator has taken the name back: phishing" {
		t.Errorf("told: %q", lost)
	}
	if _, err := r.names.Take("a.relay.test", "", false); !errors.Is(err, names.ErrNone) {
		t.Errorf("taken twice: %v", err)
	}
	denied(t, r.claim(b, "a.relay.test", ""), names.DeniedTaken)
	if _, err := r.names.Take("a.relay.test", "", true); err != nil {
		t.Fatal(err)
	}
	r.allowed(b, "a.relay.test", "")
	if _, err := r.names.Take("none.relay.test", "", true); !errors.Is(err, names.ErrNone) {
		t.Errorf("a name that nobody has: %v", err)
	}
}

// Only its holder gives a name back, and only once.
func TestOnlyItsHolderReleasesAName(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	r.allowed(a, "a.relay.test", "")
	for _, name := range []string{"a.relay.test", "relay.test", "x.a.relay.test", a.label(), b.label(), "none.relay.test"} {
		denied(t, r.names.Release(name, public(b)), names.DeniedTaken)
	}
	denied(t, r.names.Release(a.label(), public(a)), names.DeniedTaken)
	if err := r.names.Release("a.relay.test", public(a)); err != nil {
		t.Error(err)
	}
	denied(t, r.names.Release("a.relay.test", public(a)), names.DeniedTaken)
}

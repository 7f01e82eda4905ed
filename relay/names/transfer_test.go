package names_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

// A record comes whole into an empty one, with its time, and into no other.
func TestTransferOverwritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newRig(t, nil)
		a := newIdentity(t)
		from.allowed(a, "a.relay.test", "")
		from.allowed(a, "b.relay.test", "")
		if err := from.names.Release("b.relay.test", public(a)); err != nil {
			t.Fatal(err)
		}
		secret, _, err := from.names.CreateToken(names.TokenInfo{Names: []string{"*.t.relay.test"}})
		if err != nil {
			t.Fatal(err)
		}
		from.grants().Close()
		time.Sleep(30 * 24 * time.Hour) // by which the record's time does not go on
		if err := from.grants().Reopen(); err != nil {
			t.Fatal(err)
		}
		to := newRig(t, policy(names.WithToken))
		counts, err := names.Transfer(from.grants(), to.grants())
		if err != nil || counts["grants"] != 2 || counts["tokens"] != 1 {
			t.Fatal(counts, err)
		}
		was, err := from.names.Show("b.relay.test")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := to.names.Show("b.relay.test"); err != nil || got != was {
			t.Errorf("%+v, %v; want %+v", got, err, was)
		}
		if late := nowOf(t, to.grants()).Sub(nowOf(t, from.grants())); late != 0 {
			t.Errorf("the time differs by %v", late)
		}
		to.allowed(a, "a.relay.test", "")
		to.allowed(newIdentity(t), "x.t.relay.test", secret)
		denied(t, to.claim(newIdentity(t), "x.a.relay.test", secret), names.DeniedTaken)
		if _, err := names.Transfer(from.grants(), to.grants()); !errors.Is(err, names.ErrNotEmpty) {
			t.Errorf("over another one: %v", err)
		}
		if err := to.grants().Close(); err != nil {
			t.Fatal(err)
		}
		if err := to.grants().Reopen(); err != nil {
			t.Errorf("opened again: %v", err)
		}
		to.grants().Close()
		from.grants().Close()
	})
}

// A name in use is noted as that well before it expires, so that no other node finds it
// expired meanwhile.
func TestNameInUseIsNotedWellBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(n *names.Names) { n.ExpireUnused = 24 * time.Hour })
		defer r.grants().Close()
		a := newIdentity(t)
		r.allowed(a, "a.relay.test", "")
		for range 6 {
			time.Sleep(12 * time.Hour)
			if err := r.names.Seen([]string{"a.relay.test"}, public(a)); err != nil {
				t.Fatal(err)
			}
			g, err := r.names.Show("a.relay.test")
			if err != nil || g.Status != names.Held || g.Until.Sub(nowOf(t, r.grants())) < 24*time.Hour {
				t.Fatalf("%+v, %v", g, err)
			}
		}
	})
}

func nowOf(t *testing.T, s names.Store) (now time.Time) {
	t.Helper()
	if err := s.View(func(tx names.Tx) error { now = tx.Now(); return nil }); err != nil {
		t.Fatal(err)
	}
	return now
}

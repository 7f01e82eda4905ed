package names_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

// orderIn claims a name and returns how long its device is to wait.
func (r *rig) orderIn(id identity, name string, certified bool) time.Duration {
	r.t.Helper()
	g, err := r.names.Claim(r.t.Context(), names.Claimant{Name: name, Key: public(id), Certified: certified})
	if err != nil {
		r.t.Fatal(err)
	}
	return g.OrderIn
}

// New names order at once until the CA's limit for the zone is used up, and then one
// by one, each when the CA gives one more.
func TestNewNamesWaitForTheirTurnAtTheCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(n *names.Names) { n.CertificatesPerWeek = 50 })
		defer r.grants().Close()
		step := 7 * 24 * time.Hour / 50 // 201.6 minutes
		for i := range 50 {
			if in := r.orderIn(newIdentity(t), fmt.Sprintf("n%d.relay.test", i), false); in != 0 {
				t.Fatalf("name %d waits %v", i, in)
			}
		}
		var waiting []identity
		for i := range 5 {
			id := newIdentity(t)
			waiting = append(waiting, id)
			near(t, r.orderIn(id, fmt.Sprintf("w%d.relay.test", i), false), time.Duration(i+1)*step)
		}
		key := newIdentity(t) // a name made from a key is a name of the zone, too
		near(t, r.orderIn(key, key.label(), false), 6*step)
		if i, err := r.names.Issuance(); err != nil || i.Left != 0 || i.Waiting != 6 || i.PerWeek != 50 {
			t.Errorf("%+v, %v", i, err)
		}
		// Asking again neither takes a turn nor loses it.
		time.Sleep(step)
		near(t, r.orderIn(waiting[0], "w0.relay.test", false), 0)
		near(t, r.orderIn(waiting[1], "w1.relay.test", false), step)
		near(t, r.orderIn(key, key.label(), false), 5*step)
		time.Sleep(24 * time.Hour)
		near(t, r.orderIn(key, key.label(), false), 0)
		// In a week without new names all of them come back.
		time.Sleep(7 * 24 * time.Hour)
		if i, err := r.names.Issuance(); err != nil || i.Left != 50 || i.Waiting != 0 || i.Next != 0 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func near(t *testing.T, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -10*time.Second || d > 10*time.Second {
		t.Errorf("waits %v, want %v", got, want)
	}
}

// A device that has a certificate, one that comes back, and a name that has had its
// turn wait for nothing and take nothing.
func TestRenewalsTakeNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.grants().Close()
		a := newIdentity(t)
		r.allowed(a, "old.relay.test", "") // before there was a limit
		r.names.SetRules(names.Rules{CertificatesPerWeek: 1})
		near(t, r.orderIn(a, "old.relay.test", false), 0)
		near(t, r.orderIn(a, "copied.relay.test", true), 0)
		near(t, r.orderIn(a, a.label(), true), 0)
		near(t, r.orderIn(a, "first.relay.test", false), 0)
		near(t, r.orderIn(a, "second.relay.test", false), 7*24*time.Hour)
		if err := r.names.Release("first.relay.test", public(a)); err != nil {
			t.Fatal(err)
		}
		near(t, r.orderIn(a, "first.relay.test", false), 0)
		// However many ask, no turn is further away than four weeks, and those that
		// took none do not make the next ones wait longer.
		var most time.Duration
		for range 20 {
			id := newIdentity(t)
			most = max(most, r.orderIn(id, id.label(), false))
		}
		near(t, most, 5*7*24*time.Hour)
		if i, err := r.names.Issuance(); err != nil || i.Waiting != 4 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

package remote_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/acme"
	"keystay/remote"
)

// An order waits for as long as the relay says with the name, and Wait says so. A
// new link brings a new time.
func TestOrderWaitsForItsTurnInTheZone(t *testing.T) {
	r := newRelay(t)
	r.mu.Lock()
	r.orderIn = 3 * time.Hour
	r.mu.Unlock()
	events := make(chan acme.Event, 64)
	ln := r.start(func(c *remote.Config) {
		c.TLS = nil
		c.ACME = acme.Config{CA: "https://127.0.0.1:1/", Roots: r.ca.Pool(), Notify: func(e acme.Event) { events <- e }}
	})
	next := func(kinds ...acme.EventKind) acme.Event {
		t.Helper()
		for {
			select {
			case e := <-events:
				for _, k := range kinds {
					if e.Kind == k {
						return e
					}
				}
			case <-time.After(patience):
				t.Fatal("nothing happened")
			}
		}
	}
	e := next(acme.Held, acme.Ordering)
	var held *acme.HeldError
	if in := time.Until(e.Next); e.Kind != acme.Held || !errors.As(e.Err, &held) || in < 3*time.Hour-patience || in > 3*time.Hour {
		t.Fatalf("%v, next %v: %v", e.Kind, e.Next, e.Err)
	}
	for start := time.Now(); ; { // the event is told before it is noted
		err := ln.Wait(expired())
		if strings.Contains(err.Error(), "no room for a new certificate") {
			break
		}
		if time.Since(start) > patience {
			t.Fatalf("Wait: %v", err)
		}
	}
	r.mu.Lock()
	r.orderIn = 0
	r.mu.Unlock()
	r.next()
	r.cut()
	if e := next(acme.Ordering); e.Name != domain {
		t.Errorf("ordering %+v", e)
	}
}

// What a relay has given out for its own zone counts for no other domain: of several relays
// that serve one, none keeps the others from its first certificate.
func TestDomainOfItsOwnWaitsForNoRelay(t *testing.T) {
	r := newRelay(t)
	r.mu.Lock()
	r.orderIn = 100 * 365 * 24 * time.Hour
	r.mu.Unlock()
	events := make(chan acme.Event, 64)
	r.start(func(c *remote.Config) {
		c.Domain, c.Relays, c.TLS = "www.example.org", []string{zone}, nil
		c.ACME = acme.Config{CA: "https://127.0.0.1:1/", Roots: r.ca.Pool(), Notify: func(e acme.Event) { events <- e }}
	})
	for {
		select {
		case e := <-events:
			switch e.Kind {
			case acme.Ordering:
				return
			case acme.Held:
				t.Fatalf("it waits until %v", e.Next)
			}
		case <-time.After(patience):
			t.Fatal("nothing happened")
		}
	}
}

// A claim says whether a first certificate is still to be ordered: so that the relay
// keeps no place for one that is there.
func TestClaimSaysWhetherThereIsACertificate(t *testing.T) {
	r := newRelay(t)
	certified := func() bool {
		r.next()
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.certified
	}
	brought := r.start(nil)
	if !certified() {
		t.Error("a certificate that was brought is not told")
	}
	end(brought)
	none := r.start(func(c *remote.Config) {
		c.TLS, c.ACME = nil, acme.Config{CA: "https://127.0.0.1:1/", Roots: r.ca.Pool()}
	})
	if certified() {
		t.Error("a certificate that is not there is told")
	}
	end(none)
	r.start(func(c *remote.Config) { c.TLS, c.Raw = nil, true })
	if certified() {
		t.Error("a certificate of the caller's is told, of which this knows nothing")
	}
}

// A replica whose relay gives it no turn, for whatever reason, still orders its certificate
// before that ends.
func TestReplicaWithoutATurnOrdersAtLast(t *testing.T) {
	t.Cleanup(remote.SetTurnPatience(0))
	r := newRelay(t) // which gives nobody a turn
	ordering := make(chan struct{}, 64)
	r.start(func(c *remote.Config) {
		c.TLS, c.Replica = nil, true
		c.ACME = acme.Config{CA: "https://127.0.0.1:1/", Roots: r.ca.Pool(), Notify: func(e acme.Event) {
			if e.Kind == acme.Ordering {
				ordering <- struct{}{}
			}
		}}
	})
	select {
	case <-ordering:
	case <-time.After(patience):
		t.Error("it orders nothing")
	}
	const validity = 100 * time.Hour
	for left, soon := range map[time.Duration]bool{50 * time.Hour: false, 11 * time.Hour: false, 9 * time.Hour: true, -time.Hour: true} {
		end := time.Now().Add(left)
		if got := remote.EndsSoon(&x509.Certificate{NotBefore: end.Add(-validity), NotAfter: end}); got != soon {
			t.Errorf("%v of %v are left: %v", left, validity, got)
		}
	}
}

// Of several relays one that never gives the turn does not take away that of the others: the
// CA that comes to them finds the replica that orders.
func TestReplicaThatOrdersAtLastHasTheTurnsThatItGets(t *testing.T) {
	t.Cleanup(remote.SetTurnPatience(0))
	a := newRelay(t)
	b := newRelay(t, func(r *fakeRelay) { r.ca, r.cert = a.ca, a.ca.Issue("other.test") }) // which gives nobody a turn
	var has atomic.Bool
	a.order = func(_ string, begins bool) bool {
		has.Store(begins)
		return true
	}
	cfg := a.deviceConfig()
	cfg.Relays, cfg.RelayAddresses, cfg.Replica = []string{zone, "other.test"}, []string{a.addr, b.addr}, true
	told := make(eventLog, 100)
	cfg.Events = func(e remote.Event) { told <- e }
	n := a.named(domain)
	n.TLS, n.Raw = nil, true // it has no certificate
	list, err := a.openDevice(cfg).Listen(n)
	if err != nil {
		t.Fatal(err)
	}
	link := a.next()
	told.next(t, remote.Connected) // a turn is asked for at once where the name is up
	told.next(t, remote.Connected)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := remote.AwaitTurn(ctx, list[0]); err != nil {
		t.Fatal(err)
	}
	if err := link.Probe(patience); err != nil { // which comes behind what was given back
		t.Fatal(err)
	}
	if !has.Load() {
		t.Error("it has given back the turn that it got")
	}
}

// A relay that answers no question for a turn is one that gives none.
func TestReplicaWithoutAnAnswerOrdersAtLast(t *testing.T) {
	t.Cleanup(remote.SetTurnPatience(0))
	t.Cleanup(remote.SetTurnAnswer(50 * time.Millisecond))
	r := newRelay(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	r.order = func(string, bool) bool {
		<-over
		return true
	}
	ln := r.start(func(c *remote.Config) { c.TLS, c.Raw, c.Replica = nil, true, true }) // it has no certificate
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)                      // the link is not lost by then
	defer cancel()
	if err := remote.AwaitTurn(ctx, ln); err != nil {
		t.Errorf("it waits: %v", err)
	} else if ctx.Err() != nil {
		t.Error("it waits for longer than the relay has for an answer")
	}
}

// A replica without a turn whose certificate has time leaves its place to orders for other
// names.
func TestReplicaWithoutATurnLeavesItsPlace(t *testing.T) {
	t.Cleanup(remote.SetTurnPatience(0))
	r := newRelay(t) // which gives nobody a turn
	ln := r.start(func(c *remote.Config) { c.Replica = true })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := remote.AwaitTurn(ctx, ln); !errors.Is(err, remote.ErrNoTurn) {
		t.Errorf("got %v", err)
	}
}

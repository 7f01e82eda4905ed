package remote

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// An order that has waited in vain for a relay of its name does not wait for it again when
// it may begin: package acme has it leave its place then, to those for other names.
func TestOrderWaitsOnceForRelaysThatDoNotGiveTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Device{}
		l := &Listener{d: d, links: newNameLinks()}
		d.ways = []*way{{d: d, wants: map[*Listener]bool{l: true}}}
		began := time.Now()
		if err := l.waitEverywhere(t.Context()); err != nil || time.Since(began) != everywhereTimeout {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute) // until there is a place among the orders
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := l.waitEverywhere(ctx); err != nil {
			t.Errorf("when it may begin: %v", err)
		}
		time.Sleep(everywhereAgain)
		began = time.Now()
		if err := l.waitEverywhere(t.Context()); err != nil || time.Since(began) != everywhereTimeout {
			t.Errorf("much later: %v after %v", err, time.Since(began))
		}
	})
}

// A relay that gives a name and takes it back, each time before an order has waited for it
// in vain, keeps no order from its place.
func TestOrderWithItsPlaceGoesOnWithoutARelayThatTookTheNameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Device{}
		l := &Listener{d: d, links: newNameLinks()}
		w := &way{d: d, candidates: []string{"b.test"}, wants: map[*Listener]bool{l: true}}
		d.ways = []*way{w}
		time.AfterFunc(everywhereTimeout-time.Second, func() {
			w.give("b.test", l)
			l.links.add(new(framing.Link), time.Now())
		})
		if err := l.waitEverywhere(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.take(l)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := l.waitEverywhere(ctx); err != nil {
			t.Errorf("when it may begin: %v", err)
		}
		if ctx.Err() == nil {
			t.Error("it did not wait at all")
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := l.waitEverywhere(stopped); err == nil {
			t.Error("an order goes on that was stopped")
		}
	})
}

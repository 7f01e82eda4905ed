package remote

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
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

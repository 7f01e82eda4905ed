package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// At most maxOrders orders are under way. The next to begin is one for a name without
// a certificate, and of each kind the one that has waited longest; one that gives up
// takes no place.
func TestFirstCertificatesGoBeforeRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var mu sync.Mutex
		var began []string
		wait := func(ctx context.Context, name string, renewal bool) {
			go func() {
				if _, err := q.enter(ctx, renewal); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				began = append(began, name)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		for range maxOrders {
			wait(t.Context(), "under way", true)
		}
		impatient, giveUp := context.WithCancel(t.Context())
		wait(t.Context(), "renewal 1", true)
		wait(impatient, "nobody", false)
		wait(t.Context(), "first 1", false)
		wait(t.Context(), "renewal 2", true)
		wait(t.Context(), "first 2", false)
		giveUp()
		synctest.Wait()
		began = nil
		for range maxOrders + 4 {
			q.leave()
			synctest.Wait()
		}
		if want := []string{"first 1", "first 2", "renewal 1", "renewal 2"}; !slices.Equal(began, want) {
			t.Errorf("began %q, want %q", began, want)
		}
		if q.underWay != 0 {
			t.Errorf("%d are under way", q.underWay)
		}
	})
}

// An order whose turn comes when validation is not possible any more lets the next one
// begin, and waits anew.
func TestOrderThatIsNotReadyAnyMoreHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		up := make(chan struct{})
		k, events := newKeeper(t, Config{Ready: func(ctx context.Context, _ string) error {
			if asked++; asked == 1 {
				return nil // and then the session is lost
			}
			select {
			case <-up:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}, offline)
		for range maxOrders {
			k.queue.enter(t.Context(), false) // as orders under way do
		}
		manage(t, k)
		synctest.Wait()
		k.queue.leave() // and its turn comes
		time.Sleep(time.Minute)
		synctest.Wait()
		if k.queue.underWay != maxOrders-1 {
			t.Errorf("%d orders are under way", k.queue.underWay)
		}
		if len(events) > 1 {
			t.Errorf("it was ordered: %v", next(events, Ordering))
		}
		close(up)
		next(events, Ordering)
		k.Close()
	})
}

// Orders that wait long for their turn hold up no others, neither first ones nor renewals.
func TestOrdersThatWaitForTheirTurnHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, due = "first.example.org", name
		k, events := newKeeper(t, Config{Turn: func(ctx context.Context, n string) error {
			if n == first || n == due {
				return nil
			}
			select { // as at a relay that gives nobody a turn
			case <-time.After(3 * time.Hour):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}, offline)
		for i := range 6 * maxOrders {
			if err := k.Manage(fmt.Sprintf("n%d.example.org", i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		put(t, k, time.Now().Add(-80*day), time.Now().Add(10*day))
		began := time.Now()
		for _, name := range []string{first, due} {
			if err := k.Manage(name); err != nil {
				t.Fatal(err)
			}
		}
		for want := map[string]bool{first: true, due: true}; len(want) > 0; {
			if ev := next(events, Ordering); want[ev.Name] {
				delete(want, ev.Name)
				if waited := time.Since(began); waited > 2*time.Minute {
					t.Errorf("%s waits for %v", ev.Name, waited)
				}
			}
			if time.Since(began) > 10*day {
				t.Fatalf("no order for %v until the certificate has expired", want)
			}
		}
		k.Close()
	})
}

// An order that gets no turn is none that the CA has refused: the next one is as it
// would have been.
func TestOrderWithoutATurnIsNotRefused(t *testing.T) {
	noTurn := errors.New("no turn")
	tries := []backoff{{}}
	failAll(tries, noTurn)
	if tries[0].refused != 0 {
		t.Errorf("%d refusals, by a CA that was not asked", tries[0].refused)
	}
}

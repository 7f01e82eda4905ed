package acme

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A waiter has orders wait in a queue, and notes which begin.
type waiter struct {
	q     queue
	mu    sync.Mutex
	began []string
	leave map[string]func() // of those under way
}

// wait has an order wait.
func (w *waiter) wait(t *testing.T, ctx context.Context, name string, renewal, again bool) {
	go func() {
		leave, _, err := w.q.enter(ctx, renewal, again)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.began = append(w.began, name)
		if w.leave == nil {
			w.leave = make(map[string]func())
		}
		w.leave[name] = leave
	}()
	synctest.Wait()
}

// end ends orders, one after the other, and those that begin then, and returns these.
func (w *waiter) end(names ...string) []string {
	w.began = nil
	for i := 0; i < len(names)+len(w.began); i++ {
		name := append(names[:len(names):len(names)], w.began...)[i]
		w.leave[name]()
		synctest.Wait()
	}
	return w.began
}

// The next order to begin is one for a name without a certificate, of each kind one that
// did not fail before, and of these the one that has waited longest; one that gives up
// takes no place.
func TestFirstCertificatesGoBeforeRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waiter
		var underWay []string
		for i := range maxOrders {
			underWay = append(underWay, fmt.Sprint("under way ", i))
			w.wait(t, t.Context(), underWay[i], true, false)
		}
		impatient, giveUp := context.WithCancel(t.Context())
		w.wait(t, t.Context(), "failed renewal", true, true)
		w.wait(t, t.Context(), "renewal 1", true, false)
		w.wait(t, impatient, "nobody", false, false)
		w.wait(t, t.Context(), "failed first", false, true)
		w.wait(t, t.Context(), "first 1", false, false)
		w.wait(t, t.Context(), "renewal 2", true, false)
		w.wait(t, t.Context(), "first 2", false, false)
		giveUp()
		synctest.Wait()
		want := []string{"first 1", "first 2", "failed first", "renewal 1", "renewal 2", "failed renewal"}
		if began := w.end(underWay...); !slices.Equal(began, want) {
			t.Errorf("began %q, want %q", began, want)
		}
		if w.q.underWay != 0 || w.q.first != 0 {
			t.Errorf("%d are under way, %d of them first ones", w.q.underWay, w.q.first)
		}
	})
}

// However many names have no certificate, one place is for renewals.
func TestOnePlaceIsForRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waiter
		for i := range maxOrders + 1 {
			w.wait(t, t.Context(), fmt.Sprint("first ", i), false, false)
		}
		if len(w.began) != maxFirst {
			t.Errorf("began %q", w.began)
		}
		for i := range 3 {
			w.wait(t, t.Context(), fmt.Sprint("renewal ", i), true, false)
		}
		if began := w.began[maxFirst:]; !slices.Equal(began, []string{"renewal 0"}) {
			t.Errorf("then began %q", began)
		}
		if began, want := w.end("renewal 0"), []string{"renewal 1", "renewal 2"}; !slices.Equal(began, want) {
			t.Errorf("after a renewal began %q, want %q", began, want)
		}
		if began, want := w.end("first 0"), []string{fmt.Sprint("first ", maxFirst), fmt.Sprint("first ", maxFirst+1)}; !slices.Equal(began, want) {
			t.Errorf("after a first one began %q, want %q", began, want)
		}
	})
}

// A certificate that ends soon is ordered with the first ones, and an order that failed
// goes behind those that did not.
func TestPlaceOfAnOrderIsByItsCertificate(t *testing.T) {
	for rank, left := range map[int]time.Duration{0: -day, 1: 8 * day, 2: 10 * day} {
		synctest.Test(t, func(t *testing.T) {
			k, events := newKeeper(t, Config{}, offline)
			put(t, k, time.Now().Add(left-90*day), time.Now().Add(left))
			if rank == 1 {
				manage(t, k)
				next(events, Failed)
			}
			for range maxOrders {
				k.queue.enter(t.Context(), true, false) // as orders under way do
			}
			manage(t, k)
			time.Sleep(time.Minute)
			k.queue.mu.Lock()
			if w := k.queue.waiting; len(w) != 1 || w[0].rank != rank {
				t.Errorf("with %v left: %d wait, want one of rank %d", left, len(w), rank)
			}
			k.queue.mu.Unlock()
			k.Close()
		})
	}
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
		var leave func()
		for range maxFirst { // as orders under way do
			leave, _, _ = k.queue.enter(t.Context(), false, false)
		}
		manage(t, k)
		synctest.Wait()
		leave() // and its turn comes
		time.Sleep(time.Minute)
		synctest.Wait()
		if k.queue.underWay != maxFirst-1 {
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

// quiet is a rehearsal of names at a relay that takes connections and says nothing. DNS
// gives no address for those that well holds.
func quiet(well ...string) *Rehearsal {
	return &Rehearsal{
		Lookup: func(_ context.Context, of string) ([]netip.Addr, error) {
			if slices.Contains(well, of) {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			return near, nil
		},
	}
}

// Names without a certificate whose orders fail again and again, as at a relay that lets
// no validation through, hold up neither a renewal nor a first order that did not fail.
func TestOrdersThatFailHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, due = "first.example.org", name
		k, events := newKeeper(t, Config{Rehearsal: quiet(first, due), NoTLSALPN01: true}, offline)
		for i := range 200 {
			if err := k.Manage(fmt.Sprintf("n%d.example.org", i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(200 * performTimeout / maxFirst) // each has failed, and waits long for its place
		put(t, k, time.Now().Add(-80*day), time.Now().Add(10*day))
		began := time.Now()
		for _, name := range []string{first, due} {
			if err := k.Manage(name); err != nil {
				t.Fatal(err)
			}
		}
		for want := map[string]bool{first: true, due: true}; len(want) > 0; {
			if ev := next(events, Ordering, Failed); ev.Kind == Ordering && want[ev.Name] {
				delete(want, ev.Name)
			}
			if time.Since(began) > 2*performTimeout {
				t.Fatalf("no order for %v after %v", want, time.Since(began))
			}
		}
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

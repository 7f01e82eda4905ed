package acme

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
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
				if err := q.enter(ctx, renewal); err != nil {
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

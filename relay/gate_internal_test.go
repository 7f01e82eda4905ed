package relay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{places: make(chan struct{}, 1)}
		var mu sync.Mutex
		var order []int
		for i := range 10 {
			go func() {
				leave, err := g.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				<-time.After(time.Second)
				leave()
				leave() // does nothing
			}()
			synctest.Wait() // they come one after the other
		}
		start := time.Now()
		<-time.After(9500 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("served %v after %v, want all ten in order and one a second", order, time.Since(start))
		}
		<-time.After(time.Second)
	})
}

func TestGateQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{places: make(chan struct{}, 1)}
		leave, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var gaveUp atomic.Int64
		for range maxHandshakesWaiting {
			go func() {
				if _, err := g.enter(t.Context()); errors.Is(err, errBusy) {
					gaveUp.Add(1)
				}
			}()
		}
		synctest.Wait()
		if _, err := g.enter(t.Context()); !errors.Is(err, errBusy) {
			t.Errorf("beyond the queue: %v, want errBusy", err)
		}
		<-time.After(handshakeWait)
		synctest.Wait()
		if n := gaveUp.Load(); n != maxHandshakesWaiting {
			t.Errorf("%d of %d gave up waiting", n, maxHandshakesWaiting)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := g.enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("wait whose context ends: %v", err)
		}
		leave()
		if leave, err = g.enter(t.Context()); err != nil {
			t.Errorf("a free gate: %v", err)
		}
		leave()
	})
}

package watch_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/remote/watch"
)

// Names with many addresses that are silent do not keep the watch from another name: one of
// them cannot have all places, and of many each has had one when it is the other's turn. Each
// silent look takes 20 seconds, and all of 20 names over 13 minutes.
func TestSlowNamesDoNotDelayTheOthers(t *testing.T) {
	for slow, most := range map[int]time.Duration{1: time.Second, 20: 65 * time.Second} {
		t.Run(fmt.Sprint(slow), func(t *testing.T) { lookBehind(t, slow, most) })
	}
}

// lookBehind looks at a name behind some that are slow, which may take so long at most.
func lookBehind(t *testing.T, slow int, most time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		honest := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
		var silent []netip.Addr
		for i := range watch.MaxAddresses {
			silent = append(silent, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
		}
		w := &watch.Watch{
			Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "198.51.100.1:") {
					return honest.Dial(ctx, address)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}},
			Resolvers: []watch.Resolver{{Name: "DNS", Lookup: func(_ context.Context, of string) ([]netip.Addr, error) {
				if of == name {
					return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil
				}
				return silent, nil
			}}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for i := range slow {
			n := d.name()
			n.Domain = fmt.Sprintf("n%d.relay.example", i)
			wg.Go(func() { w.Run(ctx, n, nil) })
		}
		time.Sleep(time.Second)
		n := d.name()
		began := time.Now()
		n.Told = func(*watch.Round) { cancel() }
		w.Run(ctx, n, nil)
		wg.Wait()
		if took := time.Since(began); took > most {
			t.Errorf("it was looked at after %v", took)
		}
	})
}

// A look at a name's own port has no look beside in front of it, and those beside are short
// in each round.
func TestLooksBesideAreShortAndHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		honest := d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })
		var mu sync.Mutex
		var looks []time.Time // at the own port
		var longest time.Duration
		atOnce, most := 0, 0 // beside
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{{Dial: func(ctx context.Context, address string) (net.Conn, error) {
			began := time.Now()
			if strings.HasSuffix(address, ":8443") {
				mu.Lock()
				looks = append(looks, began)
				mu.Unlock()
				return honest.Dial(ctx, address)
			}
			mu.Lock()
			atOnce++
			most = max(most, atOnce)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			atOnce--
			longest = max(longest, time.Since(began))
			return nil, ctx.Err()
		}}}}
		n := d.name()
		n.Port, n.Beside = func() int { return 8443 }, func() (ports []int) {
			for i := range watch.MaxBeside {
				ports = append(ports, 9000+i)
			}
			return ports
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began, rounds := time.Now(), 0
		n.Told = func(*watch.Round) {
			if rounds++; rounds == 3 {
				cancel()
			}
		}
		w.Run(ctx, n, nil)
		if len(looks) != 3 || looks[0] != began {
			t.Errorf("the first look is %v late: %v", looks[0].Sub(began), looks)
		}
		if longest > 10*time.Second || most > 4 {
			t.Errorf("beside %d looks ran at once, and one for %v", most, longest)
		}
	})
}

package watch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/remote/watch"
)

// dialled is a way that notes what it is asked for, and fails.
func dialled(name string, names bool) (watch.Way, func() []string) {
	var mu sync.Mutex
	var all []string
	return watch.Way{Name: name, Names: names, Dial: func(_ context.Context, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, address)
			return nil, errors.New("no way")
		}}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(all)
			return all
		}
}

func TestEveryAddressThatAnyResolverGivesIsDialledInEveryWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		direct, there := dialled("", false)
		proxy, through := dialled("proxy.example:3128", true)
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1", "::ffff:192.0.2.1"), gives("192.0.2.1", "2001:db8::1")}, Ways: []watch.Way{direct, proxy}}
		round, _ := first(t, w, newDevice(t).name())
		want := []string{"192.0.2.1:443", "[2001:db8::1]:443"}
		if got := there(); !slices.Equal(got, want) {
			t.Errorf("directly %v, want %v", got, want)
		}
		if got := through(); !slices.Equal(got, append(want, name+":443")) {
			t.Errorf("through the proxy %v", got)
		}
		if len(round.Results) != 5 {
			t.Errorf("%d results", len(round.Results))
		}
	})
}

// One resolver that fails makes the round one that was not run, though all of the other's
// addresses are fine.
func TestWhatWasNotRunIsSaidBesideWhatIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t)
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1"), gives()},
			Ways: []watch.Way{d.to(func(c net.Conn) { d.serve(c, d.cert, true, d.key) })}}
		round, _ := first(t, w, d.name())
		if want := "nobody between: this device's own key at 192.0.2.1:443; not checked: the name is not found in DNS, as DNS says: no address"; round.Text() != want {
			t.Errorf("%q, want %q", round.Text(), want)
		}
		if round.State() != watch.NotRun {
			t.Error(round.State())
		}
	})
}

func TestAddressesBeyondTheLimitAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		for i := range 20 {
			all = append(all, fmt.Sprintf("192.0.2.%d", i+1))
		}
		way, there := dialled("", false)
		round, _ := first(t, &watch.Watch{Resolvers: []watch.Resolver{gives(all...)}, Ways: []watch.Way{way}}, newDevice(t).name())
		if n := len(there()); n != watch.MaxAddresses {
			t.Errorf("%d addresses are dialled", n)
		}
		if !slices.ContainsFunc(round.Results, func(r watch.Result) bool { return strings.Contains(r.Why, "4 addresses more") }) {
			t.Errorf("%+v", round.Results)
		}
	})
}

// Rounds come at random, within two hours and their own minute, and soon after a link has
// come up again, but not one after the other.
func TestRoundsComeAboutHourlyAndSoonAfterAReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		way, _ := dialled("", false)
		rounds := make(chan time.Time, 100)
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{way}}
		n := newDevice(t).name()
		n.Told = func(r *watch.Round) { rounds <- r.Time }
		again := make(chan struct{}, 1)
		var wg sync.WaitGroup
		wg.Go(func() { w.Run(ctx, n, again) })
		next := func() time.Time {
			select {
			case at := <-rounds:
				return at
			case <-time.After(24 * time.Hour):
				t.Fatal("no round comes any more")
				return time.Time{}
			}
		}
		last := next()
		gaps := make(map[time.Duration]bool)
		for range 5 {
			at := next()
			gap := at.Sub(last)
			if gap > 121*time.Minute {
				t.Errorf("the next round came after %v", gap)
			}
			gaps[gap], last = true, at
		}
		if len(gaps) < 5 {
			t.Errorf("the gaps are %v", gaps)
		}
		for range 3 { // at once, and a while later
			again <- struct{}{}
			at := next()
			if gap := at.Sub(last); gap < 5*time.Minute || gap > 7*time.Minute {
				t.Errorf("after a reconnect the round came after %v", gap)
			}
			last = at
		}
		for quiet := false; !quiet; {
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			select {
			case <-rounds:
			default:
				quiet = true
			}
		}
		late := time.Now()
		again <- struct{}{}
		if gap := next().Sub(late); gap > 3*time.Minute {
			t.Errorf("after a late reconnect the round came after %v", gap)
		}
		cancel()
		wg.Wait()
	})
}

// What a relay sees of a round first does not come from the device's own address, and
// after a round no time is free of the next one.
func TestNobodyKnowsWhenTheNextProbeComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		type dial struct {
			direct bool
			at     time.Time
		}
		dials := make(chan dial, 2)
		noted := func(direct bool) func(context.Context, string) (net.Conn, error) {
			return func(context.Context, string) (net.Conn, error) {
				dials <- dial{direct, time.Now()}
				return nil, errors.New("no way")
			}
		}
		w := &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")},
			Ways: []watch.Way{{Dial: noted(true)}, {Name: "proxy.example:3128", Dial: noted(false)}}}
		var wg sync.WaitGroup
		wg.Go(func() { w.Run(ctx, newDevice(t).name(), nil) })
		<-dials
		last := (<-dials).at
		soon, late := 0, 0
		const rounds = 200
		for range rounds {
			first, second := <-dials, <-dials
			if first.direct || !second.direct {
				t.Fatal("the direct probe is not the last")
			}
			switch gap := first.at.Sub(last); {
			case gap < 30*time.Minute:
				soon++
			case gap > 90*time.Minute:
				late++
			}
			last = second.at
		}
		// 79 and 45 are to be expected; less than 10 of either never come by chance.
		if soon < 10 || late < 10 {
			t.Fatalf("of %d rounds, %d come within half an hour and %d after an hour and a half", rounds, soon, late)
		}
		cancel()
		wg.Wait()
	})
}

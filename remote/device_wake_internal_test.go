package remote

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatcherTellsSleepFromABusyMachine(t *testing.T) {
	const step = wakeStep
	for _, c := range []struct {
		name       string
		wall, mono time.Duration // between two looks
		network    string
		want       bool
	}{
		{"nothing", step, step, "a", false},
		{"a busy machine", step + time.Second, step + time.Second, "a", false},
		{"sleep in which the monotonic clock stands still", time.Hour, step, "a", true},
		{"sleep in which it goes on, or a stopped process", time.Hour, time.Hour, "a", true},
		{"a stopped process, and a wall clock set back", -time.Hour, 20 * time.Second, "a", true},
		{"a wall clock set back", step - time.Hour, step, "a", false},
		{"another network", step, step, "b", true},
		{"no network", step, step, "", true},
	} {
		wall, mono, network := time.Unix(1e9, 0), time.Hour, "a"
		w := watcher{
			clock:   func() (time.Time, time.Duration) { return wall, mono },
			network: func() string { return network },
		}
		if reason := w.look(); reason != "" {
			t.Errorf("%s: the first look says %q", c.name, reason)
		}
		wall, mono, network = wall.Add(c.wall), mono+c.mono, c.network
		if reason := w.look(); (reason != "") != c.want {
			t.Errorf("%s: %q", c.name, reason)
		}
		wall, mono = wall.Add(step), mono+step
		if reason := w.look(); reason != "" {
			t.Errorf("%s: a step later still %q", c.name, reason)
		}
	}
}

func TestAlarmEndsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarm
		heard := 0
		pause := func(want time.Duration, cut bool) {
			t.Helper()
			start := time.Now()
			if got := a.pause(t.Context(), 15*time.Second, &heard); got != cut || time.Since(start) != want {
				t.Errorf("pause: cut short %v after %v, want %v after %v", got, time.Since(start), cut, want)
			}
		}
		pause(15*time.Second, false)
		time.AfterFunc(5*time.Second, a.ring)
		pause(5*time.Second, true)
		pause(15*time.Second, false) // it counts once

		a.ring() // while nobody waits
		<-time.After(time.Second)
		pause(0, true)
		a.ring()
		<-time.After(time.Hour) // long ago it says nothing any more
		pause(15*time.Second, false)

		other := 0 // each who waits has an account of its own
		if a.ring(); !a.pause(t.Context(), time.Minute, &other) {
			t.Error("the second to wait was not waked")
		}
		pause(0, true)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a.pause(ctx, time.Minute, &heard) {
			t.Error("the end of a context counts as the alarm")
		}
	})
}

func TestAlarmEndsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarm
		ctx, cancel := a.context(t.Context())
		defer cancel()
		<-time.After(time.Hour)
		if ctx.Err() != nil {
			t.Error("the context has ended by itself")
		}
		a.ring()
		<-ctx.Done()
		other, cancel := a.context(t.Context())
		cancel()
		<-other.Done()
	})
}

// What a watch costs: it is paid every wakeStep.
func BenchmarkLook(b *testing.B) {
	w := watcher{clock: systemClock(), network: sourceAddrs}
	for b.Loop() {
		w.look()
	}
}

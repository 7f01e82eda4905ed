package names_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// A calendar is a record, the clock of its machine, and who asks for names. It
// is used in a bubble.
type calendar struct {
	t      *testing.T
	grants *names.Grants
	names  *names.Names
	off    atomic.Int64 // how far the clock is off, in nanoseconds
	a, b   identity
	log    bytes.Buffer // see logged
	stop   func()       // nil while the relay is off
}

// newCalendar returns a record that no relay has open. set may put something into
// it before.
func newCalendar(t *testing.T, set func(c *calendar, dir string)) *calendar {
	t.Helper()
	dir := t.TempDir()
	c := &calendar{t: t, grants: openGrants(t, dir), a: newIdentity(t), b: newIdentity(t)}
	if set != nil {
		set(c, dir)
	}
	c.grants.Close()
	c.grants.SetClock(func() time.Time { return time.Now().Add(time.Duration(c.off.Load())) })
	return c
}

// start starts a relay with a clock that is so far off. Identity a is connected
// for the names.
func (c *calendar) start(off time.Duration, connected ...string) {
	c.t.Helper()
	c.off.Store(int64(off))
	if err := c.grants.Reopen(); err != nil {
		c.t.Fatal(err)
	}
	c.names = &names.Names{Grants: c.grants}
	c.names.Begin(zone)
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.names.KeepUp(ctx, connected, public(c.a), slog.New(slog.NewTextHandler(&c.log, nil)))
	}()
	c.stop = func() {
		cancel()
		<-done
		if err := c.grants.Close(); err != nil {
			c.t.Error(err)
		}
	}
	synctest.Wait()
}

// pass lets time pass in which the relay is off but for a moment now and then: such
// breaks count, as TestShortBreaksCount has it.
func (c *calendar) pass(d time.Duration) {
	c.t.Helper()
	c.start(0)
	c.stop()
	for ; d > 0; d -= 6 * day {
		time.Sleep(min(d, 6*day))
		c.start(0)
		c.stop()
	}
}

// logged returns what the relays have logged, in a bubble.
func (c *calendar) logged() string {
	synctest.Wait()
	return c.log.String()
}

func (c *calendar) claim(id identity, name string) error {
	_, err := c.names.Claim(context.Background(), names.Claimant{Name: name, Key: public(id)})
	return err
}

// are checks that the names are a's.
func (c *calendar) are(list ...string) {
	c.t.Helper()
	for _, name := range list {
		denied(c.t, c.claim(c.b, name), names.DeniedTaken)
		denied(c.t, c.claim(c.b, "below."+name), names.DeniedTaken)
	}
}

// gets checks that the identity gets a name.
func (c *calendar) gets(id identity, name string) {
	c.t.Helper()
	if err := c.claim(id, name); err != nil {
		c.t.Error(err)
	}
}

// No name is lost to a clock that is wrong, before, between and after restarts,
// however far it is off; and none is kept for ever.
func TestWrongClockGivesNoNameAway(t *testing.T) {
	for name, starts := range map[string][]struct {
		off  time.Duration // how far the clock is off
		runs time.Duration // how long the relay runs with it
	}{
		"right":                       {{0, 30 * day}, {0, 30 * day}},
		"a year ahead":                {{0, day}, {year, day}},
		"a year ahead, and put right": {{0, day}, {year + day, day}, {0, day}},
		"a year behind":               {{0, day}, {-year, day}},
		"a year behind, put right":    {{0, day}, {-year, day}, {0, day}},
		"two starts a year ahead":     {{0, day}, {2 * year, time.Hour}, {2 * year, 2 * time.Hour}},
		"two starts, and put right":   {{0, day}, {2 * year, time.Hour}, {2 * year, day}, {0, day}},
		"two starts a year behind":    {{0, day}, {-2 * year, time.Hour}, {-2 * year, day}, {0, day}},
		"ten starts to and fro":       {{year, day}, {-year, day}, {year, day}, {-year, day}, {year, 0}, {-year, 0}, {year, 0}, {-year, 0}, {year, 0}, {0, day}},
		"before 1970":                 {{0, day}, {-40 * year, day}, {0, day}},
		"after 2038":                  {{0, day}, {40 * year, day}, {0, day}},
		"off for more than a year":    {{0, day}, {400 * day, day}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCalendar(t, func(c *calendar, _ string) {
					if err := c.grants.Give(public(c.a), 300*day, "old.relay.test"); err != nil {
						t.Fatal(err)
					}
				})
				for i, s := range starts {
					c.start(s.off)
					c.are("old.relay.test", c.a.label())
					if i == 0 {
						c.gets(c.a, "a.relay.test")
					}
					time.Sleep(s.runs)
					c.are("old.relay.test", "a.relay.test", c.a.label())
					c.stop()
				}
				// The names of a device that stays away are free in the end.
				c.pass(year + names.GraceTime + day)
				c.start(0)
				c.gets(c.b, "old.relay.test")
				c.gets(c.b, "a.relay.test")
				c.are(c.a.label())
				c.stop()
			})
		})
	}
}

// A relay that is off now and then, for days, lets names expire all the same.
func TestShortBreaksCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalendar(t, nil)
		c.start(0)
		c.gets(c.a, "a.relay.test")
		c.stop()
		for range 60 {
			time.Sleep(6 * day)
			c.start(0)
			c.are("a.relay.test")
			c.stop()
		}
		for range names.GraceTime / (6 * day) { // expired, and kept from others
			time.Sleep(6 * day)
			c.start(0)
			denied(t, c.claim(c.b, "a.relay.test"), names.DeniedTaken)
			c.stop()
		}
		time.Sleep(6 * day)
		c.start(0)
		c.gets(c.b, "a.relay.test")
		c.stop()
	})
}

// A clock that jumps while the relay runs changes nothing, whichever way it goes,
// and after it is set back nothing is left of it. The log says each jump once.
func TestClockThatJumpsWhileTheRelayRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalendar(t, nil)
		c.start(0, "connected.relay.test")
		c.gets(c.a, "a.relay.test")
		c.gets(c.a, "connected.relay.test")
		for i, off := range []time.Duration{10 * year, 0, -10 * year, 0, 30 * time.Minute, 0} {
			c.off.Store(int64(off))
			time.Sleep(3 * time.Hour)
			c.gets(c.a, "a.relay.test")
			c.are("a.relay.test", "connected.relay.test")
			if n, want := strings.Count(c.logged(), "the clock of this machine has jumped"), min(i+1, 4); n != want {
				t.Errorf("the log says it %d times after %d jumps, want %d", n, i+1, want)
			}
		}
		if !strings.Contains(c.logged(), "timedatectl") {
			t.Error("the log does not say what to do")
		}
		time.Sleep(year + names.GraceTime + day)
		c.gets(c.b, "a.relay.test") // as any other name
		c.are("connected.relay.test")
		c.stop()
	})
}

// A jump from one run to the next is in the log too, a short break is not.
func TestJumpBetweenRunsIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalendar(t, nil)
		for i, off := range []time.Duration{0, 6 * day, 0, 8 * day, 0} {
			before := c.logged()
			c.start(off)
			told := strings.Contains(strings.TrimPrefix(c.logged(), before), "has jumped")
			if want := i >= 2; told != want {
				t.Errorf("start %d, off by %v: told %v, want %v", i, off, told, want)
			}
			c.stop()
		}
	})
}

// A record of an older version has no time of its own. It goes on from when the
// latest of its names was used, and what it has from the future counts as now.
func TestOlderRecordAndAWrongClock(t *testing.T) {
	for name, at := range map[string]struct {
		seen time.Duration // ago, by a clock that is right
		off  time.Duration // of the clock at the first start of this version
	}{
		"a year ahead":        {time.Hour, 2 * year},
		"a year behind":       {time.Hour, -2 * year},
		"used by a wrong one": {-10 * year, 0},
		"used in 1975":        {25 * year, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCalendar(t, func(c *calendar, dir string) {
					writeOldRecord(t, c.grants, dir, map[string]identity{"a.relay.test": c.a, "other.relay.test": c.a}, time.Now().Add(-at.seen))
				})
				for _, off := range []time.Duration{at.off, at.off, 0} {
					c.start(off)
					c.are("a.relay.test", "other.relay.test")
					time.Sleep(day)
					c.are("a.relay.test", "other.relay.test")
					c.stop()
				}
				c.pass(year + names.GraceTime + day)
				c.start(0)
				c.gets(c.b, "a.relay.test")
				c.stop()
			})
		})
	}
}

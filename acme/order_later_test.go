package acme

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// holdRig returns a keeper whose new certificates have to wait until what hold
// holds, the URLs that were asked, and the log.
func holdRig(t *testing.T, others ...string) (k *Keeper, events <-chan Event, hold *atomic.Pointer[time.Time], asked func(host string) int, log *strings.Builder) {
	hold = new(atomic.Pointer[time.Time])
	log = new(strings.Builder)
	var count [2]atomic.Int32
	cfg := Config{OtherCAs: others, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Hold: func(n string) time.Time {
			if n != name {
				t.Errorf("asked about %q", n)
			}
			if at := hold.Load(); at != nil {
				return *at
			}
			return time.Time{}
		}}
	index := func(host string) int {
		if host != "second.test" {
			return 0
		}
		return 1
	}
	k, events = newKeeper(t, cfg, func(r *http.Request) (*http.Response, error) {
		count[index(r.URL.Host)].Add(1)
		return offline(r)
	})
	return k, events, hold, func(host string) int { return int(count[index(host)].Load()) }, log
}

// A new certificate waits for as long as it must, and the log says so once.
func TestANewCertificateWaitsWhileItIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events, hold, asked, log := holdRig(t)
		until := time.Now().Add(3 * time.Hour)
		hold.Store(&until)
		manage(t, k)
		ev := next(events, Held)
		var held *HeldError
		if !ev.Next.Equal(until) || ev.Why == "" || !errors.As(ev.Err, &held) || !held.Until.Equal(until) {
			t.Errorf("held: %+v", ev)
		}
		time.Sleep(3*time.Hour - time.Second)
		synctest.Wait()
		if n := asked("ca.test"); n != 0 {
			t.Errorf("the CA was asked %d times meanwhile", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if asked("ca.test") == 0 {
			t.Error("the CA was not asked when the time was over")
		}
		k.Close()
		if n := strings.Count(log.String(), "has to wait"); n != 1 || !strings.Contains(log.String(), "--acme-ca") {
			t.Errorf("the log has it %d times:\n%s", n, log)
		}
	})
}

// The time may change: what counts is the answer of now, looked at after a kick
// and every checkInterval.
func TestAHoldThatIsOverEarlierEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events, hold, asked, log := holdRig(t)
		until := time.Now().Add(30 * day)
		hold.Store(&until)
		manage(t, k)
		next(events, Held)
		later := until.Add(day)
		hold.Store(&later)
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked("ca.test") != 0 {
			t.Error("the CA was asked")
		}
		hold.Store(nil)
		k.Kick()
		synctest.Wait()
		if asked("ca.test") == 0 {
			t.Error("the CA was not asked after a kick")
		}
		k.Close()
		if n := strings.Count(log.String(), "has to wait"); n != 2 { // the time has changed once
			t.Errorf("the log has it %d times:\n%s", n, log)
		}
	})
}

// Who says another time with each kick fills no log, whose last word is true soon.
func TestAHoldThatIsAnotherOneEachTimeFillsNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events, hold, _, log := holdRig(t)
		say := func(d time.Duration) (until time.Time) {
			until = time.Now().Add(d)
			hold.Store(&until)
			k.Kick()
			return until
		}
		say(day)
		manage(t, k)
		next(events, Held)
		const long = time.Hour
		for i := range int(long / time.Second) {
			say(day + time.Duration(i%2)*time.Hour)
			time.Sleep(time.Second)
		}
		until := say(2 * day)
		time.Sleep(checkInterval)
		k.Close()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if n := len(lines); n > int(long/checkInterval)+2 {
			t.Errorf("%d lines", n)
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, until.Format("2006-01-02T15:04:05")) {
			t.Errorf("it has to wait until %v, and the last word is %s", until, last)
		}
	})
}

// Meanwhile the next CA is asked, and the first one is not.
func TestTheNextCAIsAskedWhileTheFirstIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events, hold, asked, log := holdRig(t, "https://second.test")
		until := time.Now().Add(time.Hour)
		hold.Store(&until)
		manage(t, k)
		next(events, Failed)
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if asked("ca.test") != 0 || asked("second.test") == 0 {
			t.Errorf("asked %d and %d times", asked("ca.test"), asked("second.test"))
		}
		time.Sleep(maxUnreached + time.Minute)
		synctest.Wait()
		if asked("ca.test") == 0 {
			t.Error("the first CA was not asked when the time was over")
		}
		k.Close()
		if !strings.Contains(log.String(), "the next CA is asked") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// A renewal never waits, nor does one whose certificate has expired; a certificate
// of another CA is none of the first.
func TestRenewalsAreNotHeld(t *testing.T) {
	for name, end := range map[string]time.Duration{"due": 10 * day, "expired": -day} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, events, hold, asked, _ := holdRig(t)
				until := time.Now().Add(365 * day)
				hold.Store(&until)
				put(t, k, time.Now().Add(-80*day), time.Now().Add(end))
				manage(t, k)
				next(events, Failed)
				if asked("ca.test") == 0 {
					t.Error("the CA was not asked")
				}
				k.Close()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		k, _, hold, asked, _ := holdRig(t, "https://second.test")
		until := time.Now().Add(365 * day)
		hold.Store(&until)
		k.issuers[0], k.issuers[1] = k.issuers[1], k.issuers[0]
		put(t, k, time.Now().Add(-80*day), time.Now().Add(-day)) // at the second
		k.issuers[0], k.issuers[1] = k.issuers[1], k.issuers[0]
		manage(t, k)
		time.Sleep(day)
		synctest.Wait()
		if asked("ca.test") != 0 || asked("second.test") == 0 {
			t.Errorf("asked %d and %d times", asked("ca.test"), asked("second.test"))
		}
		k.Close()
	})
}

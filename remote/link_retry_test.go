package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// outageOf has many remotes lose a relay that is away for a while, and returns
// how long after its return the last of them tries again, and how many attempts
// there were in the busiest second.
func outageOf(remotes int, away time.Duration, cheap bool) (last time.Duration, busiest int) {
	began := time.Now()
	attempts := make(map[int]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range remotes {
		wg.Go(func() {
			var r retry
			time.Sleep(r.wait(true)) // a session was lost
			for time.Since(began) < away {
				mu.Lock()
				attempts[int(time.Since(began).Seconds())]++
				mu.Unlock()
				time.Sleep(r.wait(cheap))
			}
			mu.Lock()
			defer mu.Unlock()
			last = max(last, time.Since(began)-away)
		})
	}
	wg.Wait()
	for second, n := range attempts {
		if second > 5 { // by then the pauses have grown
			busiest = max(busiest, n)
		}
	}
	return last, busiest
}

// A relay that was killed has everybody back soon, however long it was away
// within reason; one that answers and fails is left alone.
func TestRetriesReachARelayThatIsBackSoon(t *testing.T) {
	const remotes = 1000
	for _, c := range []struct {
		away    time.Duration
		cheap   bool
		last    time.Duration
		busiest int
	}{
		{time.Second, true, quickPause, 0},
		{10 * time.Second, true, quickPause, 3 * remotes / 2},
		{quickTime - 5*time.Second, true, quickPause, 3 * remotes / 2},
		{2 * quickTime, true, maxPause, 3 * remotes / 2},
		{time.Minute, false, maxPause, remotes},
		{10 * time.Minute, false, maxPause, remotes},
	} {
		t.Run(fmt.Sprint(c.away, c.cheap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				last, busiest := outageOf(remotes, c.away, c.cheap)
				if last > c.last || busiest > c.busiest {
					t.Errorf("the last was back after %v, want %v; %d attempts in a second, want %d", last, c.last, busiest, c.busiest)
				}
				if c.last == maxPause && last < maxPause/2 {
					t.Errorf("the last was back after %v: the pauses do not grow", last)
				}
			})
		})
	}
}

func TestOnlyARefusedConnectionIsCheap(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for err, want := range map[error]bool{
		&NoRelayError{Relay: "relay.net", Err: errors.Join(dial)}:                                 true,
		&NoRelayError{Relay: "relay.net", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}: false,
		context.DeadlineExceeded: false,
	} {
		if got := cheap(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// A relay that has moved, or that knows another key, is dialled again at once, and one that does
// so each time is left alone.
func TestRelayThatMovesAgainAndAgainIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		every       time.Duration // there is a move
		times       int
		quick       int // at least, of the first
		least, most time.Duration
	}{
		{time.Second, moveBurst, moveBurst, 0, 0}, // a relay that is restarted again and again
		{10 * time.Minute, 50, 50, 0, 0},
		{time.Second, 500, moveBurst, 30 * time.Minute, 2 * time.Hour},
		{time.Millisecond, 500, 1, 30 * time.Minute, 2 * time.Hour},
	} {
		t.Run(fmt.Sprint(c.every, c.times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var k linker
				var waited time.Duration
				for i := range c.times {
					time.Sleep(c.every)
					wait := k.wait(c.every, []error{errMoved, errNewKey}[i%2])
					if i < c.quick && wait > 0 {
						t.Errorf("after move %d it is left alone for %v", i, wait)
					}
					time.Sleep(wait)
					waited += wait
				}
				if waited < c.least || waited > c.most {
					t.Errorf("it was left alone for %v", waited)
				}
			})
		})
	}
}

// While no link is up one is dialled, and the others come when it is.
func TestLinksGoOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q line
		if first, waited := q.enter(t.Context()); !first || waited {
			t.Fatalf("the first: %v, %v", first, waited)
		}
		others := make(chan bool, 3)
		for range 3 {
			go func() {
				first, waited := q.enter(t.Context())
				others <- !first && waited
			}()
		}
		synctest.Wait()
		if len(others) > 0 {
			t.Error("one did not wait")
		}
		if !q.rise() {
			t.Error("it is not the first")
		}
		for range 3 {
			if !<-others {
				t.Error("another is the first, or has not waited")
			}
		}
		if q.rise() {
			t.Error("a second first")
		}
		q.fall()
		if first, waited := q.enter(t.Context()); first || waited {
			t.Errorf("while one is up: %v, %v", first, waited)
		}
		q.fall()
		if down, times := q.down(); !down || times != 1 {
			t.Errorf("down: %v, %d times", down, times)
		}
		if first, _ := q.enter(t.Context()); !first {
			t.Error("nobody is the first after the last was lost")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if first, _ := q.enter(ctx); first {
			t.Error("one whose context has ended is the first")
		}
	})
}

// An outage is told once, and then now and then.
func TestOutageIsToldOnceAndNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage
		refused := func(port int) string { return reason(fmt.Errorf("read 127.0.0.1:%d: refused", port)) }
		if !o.tells("lost", true) || o.tells("lost in another way", true) {
			t.Error("how the links ended is not told once")
		}
		told := 0
		for i := range 24 * 3600 {
			if o.tells(refused(i), false) {
				told++
			}
			time.Sleep(time.Second)
		}
		if told < 24 || told > 32 {
			t.Errorf("told %d times in a day", told)
		}
		if !o.tells("now something else", false) {
			t.Error("another reason is not told")
		}
		for i := range 100 {
			if o.tells(fmt.Sprintf("always another: %c", 'A'+i), false) && i > maxReasons {
				t.Error("the reasons have no limit")
			}
		}
		if d := o.ends(); d != 24*time.Hour {
			t.Errorf("it has lasted %v", d)
		}
		if d := o.ends(); d != 0 {
			t.Errorf("none has lasted %v", d)
		}
		if !o.tells(refused(1), false) {
			t.Error("the next outage is not told")
		}
	})
}

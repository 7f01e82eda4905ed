package remote_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

// A firstCome gives a name to whoever claims it first, and then to nobody else but a key to
// which that one hands over, as a relay does.
type firstCome struct {
	mu    sync.Mutex
	owner func(framing.Hello, framing.Claim) error
	key   ed25519.PublicKey // the first one
}

func (f *firstCome) decide(h framing.Hello, c framing.Claim) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner == nil {
		f.key = bytes.Clone(h.Key)
		f.owner = successor(f.key)
	}
	return f.owner(h, c)
}

// first is the key that had the name first.
func (f *firstCome) first() ed25519.PublicKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.key
}

// A relay gives a name to the key from before after the hand-over was written: then none waits
// for that relay. The new key has the name all the same, in the run that is told of it and at
// the next start.
func TestNewKeyHasANameThatTheOldOneGotLater(t *testing.T) {
	for name, told := range map[string]bool{"the run is told": true, "the next start": false} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRelay(t), t.TempDir()
			var f firstCome
			var once sync.Once
			asked, open := make(chan struct{}), make(chan struct{})
			r.decideBy(func(h framing.Hello, c framing.Claim) error {
				once.Do(func() { close(asked); <-open })
				return f.decide(h, c)
			})
			ln := r.start(func(cfg *remote.Config) { cfg.StateDir = dir })
			<-asked
			before := identityOf(t, dir)
			key := rotate(t, dir)
			close(open)
			if err := wait(t, ln); err != nil || !before.Equal(f.first()) {
				t.Fatalf("given to %x, %v", f.first(), err)
			}
			r.next()
			if told {
				if changed, err := ln.TakeUpIdentity(); !changed || err != nil {
					t.Fatalf("changed %v, %v", changed, err)
				}
			} else {
				end(ln)
				ln = r.start(func(cfg *remote.Config) { cfg.StateDir = dir })
			}
			if err := wait(t, ln); err != nil {
				t.Fatal(err)
			}
			if link := r.next(); !key.Equal(link.hello.Key) {
				t.Errorf("hello of %x", link.hello.Key)
			}
		})
	}
}

// So it is where the first grant had no answer any more: the device cannot know of it.
func TestNewKeyHasANameOfWhichTheOldOneDidNotHear(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	var f firstCome
	var once sync.Once
	granted, never := make(chan struct{}), make(chan struct{})
	r.decideBy(func(h framing.Hello, c framing.Claim) error {
		err := f.decide(h, c)
		once.Do(func() { close(granted); <-never })
		return err
	})
	ln := r.start(func(cfg *remote.Config) { cfg.StateDir = dir })
	<-granted
	end(ln)
	close(never)
	rotate(t, dir)
	if err := wait(t, r.start(func(cfg *remote.Config) { cfg.StateDir = dir })); err != nil {
		t.Error(err)
	}
}

// A name that is another device's stays so, whatever is shown; and that is asked once.
func TestNameOfAnotherDeviceIsRefusedAfterANewKey(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	end(r.startServed(dir, nil))
	r.next()
	rotate(t, dir)
	asked := make(chan int, 8)
	r.decideBy(func(_ framing.Hello, c framing.Claim) error {
		asked <- len(c.Handovers)
		if len(asked) == 1 {
			return nil // it has heard
		}
		return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
	})
	end(r.startServed(dir, nil))
	r.next()
	var denied *framing.Denial
	if err := ended(t, r.start(func(cfg *remote.Config) { cfg.StateDir = dir })); !errors.As(err, &denied) || denied.Code != framing.DeniedTaken {
		t.Errorf("ended with %v", err)
	}
	if len(asked) != 3 {
		t.Fatalf("asked %d times", len(asked))
	}
	if shown := [3]int{<-asked, <-asked, <-asked}; shown != [3]int{1, 0, 1} {
		t.Errorf("shown %d", shown)
	}
}

// The device may change its key as often as it likes where no relay has to hear of it. Of what
// was signed it keeps as much as may be shown.
func TestKeysThatNobodyWaitsForAreNoHindrance(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	if _, _, err := remote.Identity(dir); err != nil {
		t.Fatal(err)
	}
	keys := []ed25519.PublicKey{identityOf(t, dir)}
	for range 2 * framing.MaxHandovers {
		keys = append(keys, rotate(t, dir))
	}
	r.decideBy(successor(keys[framing.MaxHandovers]))
	ln := r.start(func(cfg *remote.Config) { cfg.StateDir = dir })
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
	end(ln)
	r.decideBy(successor(keys[framing.MaxHandovers-1]))
	var denied *framing.Denial
	if err := ended(t, r.start(func(cfg *remote.Config) { cfg.StateDir = dir })); !errors.As(err, &denied) || denied.Code != framing.DeniedTaken {
		t.Errorf("ended with %v", err)
	}
}

// A name that the relay does not take back is not claimed instead: a run may have it, which
// would end, or it may be nobody's.
func TestRefusedReleaseClaimsNothing(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	if _, _, err := remote.Identity(dir); err != nil {
		t.Fatal(err)
	}
	rotate(t, dir)
	claims := make(chan string, 8)
	r.decideBy(func(_ framing.Hello, c framing.Claim) error { claims <- c.Name; return nil })
	r.release = &framing.NotReleased{Name: domain, Text: "this device does not hold the name"}
	cfg := r.config()
	cfg.StateDir = dir
	var not *framing.NotReleased
	if _, err := remote.Release(t.Context(), cfg); !errors.As(err, &not) || len(claims) > 0 {
		t.Errorf("%v, and %d claims", err, len(claims))
	}
}

// A name that is another device's is refused for good, also where the relay has no room to remember
// the hand-overs that nobody had to show it: they say nothing of the name.
func TestNameOfAnotherDeviceIsRefusedWhereHandoversFindNoRoom(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	if _, _, err := remote.Identity(dir); err != nil {
		t.Fatal(err)
	}
	rotate(t, dir)
	asked := make(chan int, 64)
	r.decideBy(func(_ framing.Hello, c framing.Claim) error {
		asked <- len(c.Handovers)
		if len(c.Handovers) > 0 { // what names.HandOver says where the first half of its record is full
			return &framing.Denial{Code: framing.DeniedLimit, Text: "this relay has taken as many hand-overs as it remembers", Retry: time.Second}
		}
		return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
	})
	ln := r.start(func(cfg *remote.Config) { cfg.StateDir = dir })
	done := make(chan error, 1)
	go func() { _, err := ln.Accept(); done <- err }()
	var shown []int
	for len(shown) < 6 {
		select {
		case err := <-done:
			var denied *framing.Denial
			if !errors.As(err, &denied) || denied.Code != framing.DeniedTaken {
				t.Errorf("ended with %v", err)
			}
			return
		case n := <-asked:
			shown = append(shown, n)
		}
	}
	t.Errorf("it asks on and on: hand-overs shown with each claim were %v", shown)
}

// A name that an earlier key got later is given back where a relay has not heard of the key of now.
func TestReleaseShowsAllHandoversWhereTheNameIsAnEarlierKeys(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	if _, _, err := remote.Identity(dir); err != nil {
		t.Fatal(err)
	}
	first := identityOf(t, dir)
	rotate(t, dir)
	end(r.startServed(dir, nil))
	r.next()
	rotate(t, dir)
	r.decideBy(successor(first))
	cfg := r.config()
	cfg.StateDir = dir
	if _, err := remote.Release(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

// A name that the relay is remembered for may be an earlier key's there, as where the relay has
// lost what was handed over: it is asked for until there is room to hear of that.
func TestRememberedNameWaitsForRoomForHandovers(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	end(r.startServed(dir, nil))
	r.next()
	rotate(t, dir)
	end(r.startServed(dir, nil)) // it hears of the new key
	r.next()
	full := 0
	r.decideBy(func(_ framing.Hello, c framing.Claim) error {
		switch {
		case len(c.Handovers) == 0:
			return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
		case full < 2:
			full++
			return &framing.Denial{Code: framing.DeniedLimit, Text: "this relay has taken as many hand-overs as it remembers", Retry: time.Second}
		}
		return nil
	})
	if err := wait(t, r.start(func(cfg *remote.Config) { cfg.StateDir = dir })); err != nil {
		t.Error(err)
	}
}

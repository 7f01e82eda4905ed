package relay_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// expectLost waits until a device has lost a name.
func (d *device) expectLost(t testing.TB, name string, code framing.DenialCode) {
	t.Helper()
	select {
	case l := <-d.lost:
		if l.Name != name || l.Code != code {
			t.Errorf("lost %+v, want %s with code %d", l, name, code)
		}
	case <-d.Done():
		t.Errorf("the link ended: %v", d.Err())
	case <-time.After(patience):
		t.Error("nothing was lost")
	}
}

// keeps checks that a device has lost nothing.
func (d *device) keeps(t testing.TB) {
	t.Helper()
	select {
	case l := <-d.lost:
		t.Errorf("lost %v", l)
	case <-d.Done():
		t.Errorf("the link ended: %v", d.Err())
	default:
	}
}

// The newer run of an identity has the name at once; the older one is told.
func TestNewerRunReplaces(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	old := r.device(id.at(5, 1), "a.relay.test", "b.relay.test").echo("old")
	newer := r.device(id.at(6, 2), "a.relay.test").echo("newer")
	old.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.reaches("a.relay.test", "newer")
	r.reaches("b.relay.test", "old") // each name by itself
	newer.keeps(t)

	// With equal numbers the later arrival has it: a state directory was copied.
	equal := r.device(id.at(6, 3), "a.relay.test").echo("equal")
	newer.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.reaches("a.relay.test", "equal")

	// An older run is denied for good, and the name stays where it is.
	err := old.Claim(t.Context(), framing.Claim{Name: "a.relay.test"})
	denied(t, err, framing.DeniedReplaced)
	var d *framing.Denial
	if errors.As(err, &d) && !d.Permanent() {
		t.Error("the older run may come back")
	}
	r.reaches("a.relay.test", "equal")
	equal.keeps(t)
}

// The visitors of a run that was replaced are not cut by the relay.
func TestReplacedRunServesItsVisitors(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	old := r.device(id.at(1, 1), "a.relay.test")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	s, err := old.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.device(id.at(2, 2), "a.relay.test")
	old.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	s.Write([]byte("still here"))
	b := make([]byte, 10)
	if _, err := io.ReadFull(c, b); string(b) != "still here" {
		t.Errorf("the visitor got %q, %v", b, err)
	}
}

// Links of one run stand side by side: visitors go to the one with fewer, and
// the name stays until the last has gone.
func TestLinksOfOneRun(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	one, two := r.device(id, "a.relay.test"), r.device(id, "a.relay.test")
	accepted := make(chan *device, 8)
	for _, d := range []*device{one, two} {
		go func() {
			for {
				s, err := d.Accept()
				if err != nil {
					return
				}
				s.Write([]byte("x"))
				accepted <- d
			}
		}()
	}
	served := make(map[*device]int)
	for range 6 {
		r.dial().Write(helloFor(t, "a.relay.test"))
		served[<-accepted]++
	}
	if served[one] != 3 || served[two] != 3 {
		t.Errorf("%d and %d visitors", served[one], served[two])
	}
	one.keeps(t)
	two.keeps(t)
	one.Close()
	two.GoAway(t.Context(), framing.GoAway{}) // and is no more in the relay's list
	three := r.device(id, "a.relay.test").echo("three")
	r.reaches("a.relay.test", "three")
	three.keeps(t)
	two.keeps(t) // it drains, and is not cut as replaced
}

// A draining device gets no new visitors, and keeps those that it has. One that
// is replaced while it drains hears nothing of it.
func TestDrainingDevice(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id.at(1, 1), "a.relay.test")
	c := r.dial()
	c.Write(helloFor(t, "a.relay.test"))
	s, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
		t.Fatal(err)
	}
	denied(t, d.Claim(t.Context(), framing.Claim{Name: "c.relay.test"}), framing.DeniedUnavailable)
	next := r.device(id.at(2, 2), "a.relay.test").echo("next")
	r.reaches("a.relay.test", "next")
	s.Write([]byte("still here"))
	s.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "still here" || err != nil {
		t.Errorf("the visitor got %q, %v", b, err)
	}
	d.keeps(t)
	next.keeps(t)
}

// A visitor of a name whose device is away waits for it, up to HoldTimeout.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		r.device(id, "a.relay.test", "b.relay.test").Close()
		synctest.Wait()

		start := time.Now()
		r.refused("a.relay.test", internalError)
		if took := time.Since(start); took != relay.HoldTimeout {
			t.Errorf("refused after %v", took)
		}

		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.reaches("a.relay.test", "back") })
		}
		time.Sleep(relay.HoldTimeout / 2)
		back := r.device(id)
		back.Claim(t.Context(), framing.Claim{Name: "b.relay.test"}) // does not wake those who wait for a
		synctest.Wait()
		if n, _ := r.srv.Holds(); n != 3 {
			t.Errorf("%d visitors wait, want 3", n)
		}
		start = time.Now()
		back.Claim(t.Context(), framing.Claim{Name: "a.relay.test"})
		back.echo("back")
		wg.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("served %v after the device came back", took)
		}
		if n, names := r.srv.Holds(); n != 0 || names != 0 {
			t.Errorf("%d visitors and %d names are left", n, names)
		}
		r.close()
	})
}

// No more than 64 visitors wait for one name; a further one is refused at once.
func TestHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		r.device(id, "a.relay.test", "b.relay.test").Close()
		synctest.Wait()
		var wg sync.WaitGroup
		for range relay.MaxHoldsPerName {
			wg.Go(func() { r.refused("a.relay.test", internalError) })
		}
		synctest.Wait()
		start := time.Now()
		r.refused("a.relay.test", internalError)
		if took := time.Since(start); took > time.Second {
			t.Errorf("one too many waited for %v", took)
		}
		wg.Go(func() { r.refused("b.relay.test", internalError) })
		synctest.Wait()
		if n, _ := r.srv.Holds(); n != relay.MaxHoldsPerName+1 {
			t.Errorf("%d visitors wait", n)
		}
		wg.Wait()
		r.close()
	})
}

// Closing the relay ends all waiting.
func TestCloseEndsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		r.device(newIdentity(t), "a.relay.test").Close()
		synctest.Wait()
		done := make(chan struct{})
		go func() { r.visit("a.relay.test", ""); close(done) }()
		synctest.Wait()
		start := time.Now()
		r.close()
		<-done
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// A link that claims no name is sent away after 30 s, one that has a name not.
func TestIdleLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) { s.Names.Policy = names.Closed })
		d, named := r.device(newIdentity(t)), newIdentity(t)
		denied(t, d.Claim(t.Context(), framing.Claim{Name: "a.relay.test"}), framing.DeniedClosed)
		other := r.device(named, named.label())
		start := time.Now()
		if g := <-d.goAway; g.Code != framing.GoAwayIdle || time.Since(start).Round(time.Second) != 30*time.Second {
			t.Errorf("%+v after %v", g, time.Since(start))
		}
		<-d.Done()
		if err := d.Err(); err != io.EOF {
			t.Errorf("the link ended with %v", err)
		}
		time.Sleep(time.Hour)
		other.keeps(t)
		r.close()
	})
}

// A device that dies without a word is away within 20 s.
func TestSilentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		var c conn
		dial := r.dial
		r.dial = func() conn { c = dial(); return c }
		r.device(newIdentity(t), "a.relay.test").echo("a")
		r.dial = dial
		r.reaches("a.relay.test", "a")
		c.(interface{ Cut() }).Cut()
		start := time.Now()
		// The visitors of the dead link are cut when it is noticed, those after
		// that are held.
		_, err := r.visit("a.relay.test", "")
		if took := time.Since(start); err == nil || took > 20*time.Second {
			t.Errorf("a visitor got %v after %v", err, took)
		}
		r.refused("a.relay.test", internalError)
		if !strings.Contains(r.log.String(), framing.ErrSilent.Error()) {
			t.Error("the log does not say why the link ended")
		}
		r.close()
	})
}

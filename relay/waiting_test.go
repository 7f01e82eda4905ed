package relay_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

// leaves are the ways of a visitor to leave.
var leaves = map[string]func(conn){
	"end of stream":      func(c conn) { c.CloseWrite() },
	"close":              func(c conn) { c.Close() },
	"reset":              func(c conn) { c.(*memconn.Conn).Reset() },
	"bytes, then an end": func(c conn) { c.Write(make([]byte, 30_000)); c.Close() },
}

// nothingLeft checks that a visitor has left nothing behind at the relay.
func (r *rig) nothingLeft(d *device) {
	r.t.Helper()
	synctest.Wait()
	holds, names := r.srv.Holds()
	if n := r.srv.Routing(); n != 0 || holds != 0 || names != 0 {
		r.t.Errorf("%d connections and %d waiting visitors of %d names are left", n, holds, names)
	}
	if n := r.srv.Streams(); n != 0 {
		r.t.Errorf("%d streams are left", n)
	}
	if n := r.srv.Connections(); d != nil && n != 1 || d == nil && n != 0 {
		r.t.Errorf("%d connections are left, with the device's", n)
	}
}

// A visitor that leaves while it waits for a remote that is away is noticed within
// watchInterval, however it leaves; so is one of a name that was handed over.
func TestVisitorLeavesWhileItWaitsForTheRemote(t *testing.T) {
	for how, leave := range leaves {
		for _, handedOver := range []bool{false, true} {
			t.Run(how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := memRig(t, func(s *relay.Server) {
						if handedOver {
							s.Expect([]string{"a.relay.test"})
						}
					})
					if !handedOver {
						r.device(newIdentity(t), "a.relay.test").Close()
					}
					synctest.Wait()
					c := r.dial()
					c.Write(helloFor(t, "a.relay.test"))
					time.Sleep(relay.WatchInterval / 2)
					if n, _ := r.srv.Holds(); n != 1 {
						t.Fatalf("%d visitors wait", n)
					}
					leave(c)
					time.Sleep(relay.WatchInterval)
					c.Close()
					time.Sleep(time.Second) // Refuse
					r.nothingLeft(nil)
					r.close()
				})
			})
		}
	}
}

// A visitor that has left is not kept by a remote that takes nothing, or takes all
// and says nothing: unansweredTimeout after its end both sides are reset.
func TestVisitorThatHasLeftIsNotKeptByASilentRemote(t *testing.T) {
	for name, say := range map[string]int{"all of it is taken": 0, "200 KB are not taken": 200_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				d := r.device(newIdentity(t), "a.relay.test")
				c := r.dial()
				c.Write(helloFor(t, "a.relay.test"))
				time.Sleep(time.Second)
				go func() { c.Write(make([]byte, say)); c.Close() }()
				synctest.Wait()
				if say > 0 {
					c.CloseWrite() // memconn's Write waits for room: it ends where it is
				}
				start := time.Now()
				s, err := d.Accept()
				if err != nil {
					t.Fatal(err)
				}
				for s.Broken() == nil {
					time.Sleep(time.Second)
				}
				if took := time.Since(start); took > relay.UnansweredTimeout+3*time.Second {
					t.Errorf("it was kept for %v", took)
				}
				c.Close()
				time.Sleep(time.Second)
				r.nothingLeft(d)
				r.close()
			})
		})
	}
}

// Over real sockets too a visitor's end is seen behind bytes that nobody has read.
func TestVisitorLeavesOverTCP(t *testing.T) {
	r := newRig(t, nil)
	r.device(newIdentity(t), "a.relay.test") // takes nothing
	for range 20 {
		c := r.dial()
		c.Write(append(largeHello(t, "a.relay.test"), make([]byte, 20_000)...))
		c.Close()
	}
	for start := time.Now(); r.srv.Routing()+r.srv.Streams() > 0 || r.srv.Connections() > 1; {
		if time.Since(start) > patience {
			t.Fatalf("%d visitors, %d streams are left", r.srv.Routing(), r.srv.Streams())
		}
		runtime.Gosched()
	}
}

// A visitor of a name whose device is away waits for it, up to HoldTimeout.
func TestVisitorWaitsForADeviceThatIsAway(t *testing.T) {
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
func TestVisitorsWhoWaitForOneNameAreBounded(t *testing.T) {
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
func TestCloseEndsEachWait(t *testing.T) {
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

// However many labels made from keys visitors ask for, those of a device that is
// about to be back wait for it, also in the first minute, in which every label
// counts as known; and so do those of a name that somebody has.
func TestVisitorsOfManyKeyLabelsLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, func(s *relay.Server) { s.Logger = nil })
		id := newIdentity(t)
		r.device(id, id.label(), "a.relay.test").Close()
		synctest.Wait()
		var hostile []conn
		stand := strings.Repeat("x", 32)
		hello := helloFor(t, stand+"."+zone)
		for i := range relay.MaxHolds + 100 {
			c := r.dial()
			hostile = append(hostile, c)
			label := strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d").Replace(fmt.Sprintf("%032d", i))
			c.Write(bytes.Replace(hello, []byte(stand), []byte(label), 1))
		}
		synctest.Wait()
		if n, _ := r.srv.Holds(); n != relay.MaxHolds/2 {
			t.Errorf("%d visitors wait, want %d", n, relay.MaxHolds/2)
		}
		var wg sync.WaitGroup
		wg.Go(func() { r.reaches(id.label(), "back") })
		wg.Go(func() { r.reaches("a.relay.test", "back") })
		time.Sleep(relay.HoldTimeout / 2)
		r.device(id, id.label(), "a.relay.test").echo("back")
		wg.Wait()
		for _, c := range hostile {
			c.Close()
		}
		r.close()
	})
}

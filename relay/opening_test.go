package relay_test

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

// largeHello is a hello for name of more than 40 KB, which is more than the first
// credit of a stream.
func largeHello(t *testing.T, name string) []byte {
	t.Helper()
	c := &captured{}
	protos := make([]string, 200)
	for i := range protos {
		protos[i] = strings.Repeat("p", 200)
	}
	tls.Client(c, &tls.Config{ServerName: name, NextProtos: protos}).Handshake()
	if len(c.first) < 40_000 {
		t.Fatalf("a hello of %d bytes", len(c.first))
	}
	return c.first
}

// A visitor that leaves while its hello waits for credit is noticed within
// watchInterval, however it leaves, and leaves nothing behind.
func TestVisitorLeavesWhileItsHelloWaitsForCredit(t *testing.T) {
	for how, leave := range leaves {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				d := r.device(newIdentity(t), "a.relay.test") // takes nothing
				c := r.dial()
				c.Write(largeHello(t, "a.relay.test"))
				time.Sleep(relay.WatchInterval / 2)
				if n := r.srv.Routing(); n != 1 {
					t.Fatalf("%d connections wait", n)
				}
				leave(c)
				time.Sleep(relay.WatchInterval)
				if c.Close(); how == "end of stream" {
					synctest.Wait()
				}
				time.Sleep(time.Second) // Refuse
				r.nothingLeft(d)
				r.close()
			})
		})
	}
}

// A visitor that stays while the remote takes nothing of its hello gets an alert
// after takeTimeout.
func TestHelloThatIsNotTakenIsRefusedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		d := r.device(newIdentity(t), "a.relay.test")
		c := r.dial()
		start := time.Now()
		c.Write(largeHello(t, "a.relay.test"))
		b := make([]byte, 99)
		n, err := c.Read(b)
		if took := time.Since(start); string(b[:n]) != internalError || err != nil || took != relay.TakeTimeout {
			t.Errorf("got %q, %v after %v", b[:n], err, took)
		}
		c.Close()
		r.nothingLeft(d)
		r.close()
	})
}

// A device that comes back has all of that time, whatever the last link had used of it.
func TestHelloHasItsTimeOnALinkThatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		id := newIdentity(t)
		dead := r.device(id, shared) // takes nothing
		c := r.dial()
		hello := largeHello(t, shared)
		go c.Write(hello)
		time.Sleep(relay.TakeTimeout - time.Second)
		dead.Close()
		time.Sleep(2 * time.Second)
		r.device(id, shared).echo("b")
		says(t, c, "b:"+string(hello[:64]))
		c.Close()
		r.close()
	})
}

// A sibling that passes a visitor on has its answer in time, whatever the device does, also
// where it goes from link to link: a relay without an answer is taken for one that is down,
// for all names.
func TestSiblingIsAnsweredInTimeForADeviceThatTakesNothing(t *testing.T) {
	for what, each := range map[string]time.Duration{"on one link": time.Hour, "from link to link": 2 * time.Second} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				c := r.dial()
				from := netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
				r.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: r.public, From: []netip.Prefix{netip.PrefixFrom(from, from.BitLen())}}})
				c.Close()
				r.changesLinks(newIdentity(t), each)
				c = r.dial()
				start := time.Now()
				c.Write(append(marked(t, zone, "203.0.113.7:1", shared, framing.KindTLS), largeHello(t, shared)...))
				b := make([]byte, 99)
				n, err := c.Read(b)
				if took := time.Since(start); string(b[:n]) != internalError[6:] || err != nil || took >= relay.SiblingAnswerTimeout {
					t.Errorf("got %q, %v after %v", b[:n], err, took)
				}
				c.Close()
				r.close()
			})
		})
	}
}

// The same holds for another node that passes a visitor on.
func TestNodeIsAnsweredInTimeForADeviceThatChangesLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		r.changesLinks(newIdentity(t), relay.TakeTimeout*4/5)
		near, far := memconn.Pipe(0)
		defer near.Close()
		defer far.Close()
		source := netip.MustParseAddrPort("203.0.113.7:1")
		h := relay.Hop{Header: framing.Header{Name: shared, Source: source, Dest: source}, First: largeHello(t, shared)}
		start := time.Now()
		err := r.srv.ServeHop(far, h, func(relay.Host) error { return nil })
		if took := time.Since(start); err == nil || took >= relay.HopTimeout {
			t.Errorf("%v after %v", err, took)
		}
		r.close()
	})
}

// changesLinks connects a device for the shared name that takes nothing, and has another link
// in the place of the last one each such time, a few times.
func (r *rig) changesLinks(id identity, each time.Duration) {
	last := r.named(id, zone)
	go func() {
		for range 4 {
			select {
			case <-time.After(each):
			case <-last.Done():
				return
			}
			next := r.named(id, zone)
			last.Close()
			last = next
		}
	}()
}

// A hello that the remote takes slowly, but within takeTimeout, arrives whole.
func TestHelloThatIsTakenSlowlyArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		d := r.device(newIdentity(t), "a.relay.test")
		c := r.dial()
		hello := largeHello(t, "a.relay.test")
		c.Write(hello)
		s, err := d.Accept()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(relay.TakeTimeout * 3 / 4)
		got := make([]byte, len(hello))
		if _, err := io.ReadFull(s, got); err != nil || string(got) != string(hello) {
			t.Errorf("the device got another hello, %v", err)
		}
		s.Write([]byte("answer"))
		s.CloseWrite()
		c.CloseWrite()
		if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
			t.Errorf("the visitor got %q, %v", b, err)
		}
		r.close()
	})
}

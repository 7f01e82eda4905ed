package relay_test

import (
	"crypto/tls"
	"io"
	"runtime"
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

// A remote has challengeTimeout for an HTTP-01 request: also where it does not
// take the question, does not answer, or does not end its answer.
func TestChallengeThatIsNotAnsweredEndsInTime(t *testing.T) {
	for name, serve := range map[string]func(*framing.Stream){
		"takes nothing": func(s *framing.Stream) {},
		"says nothing":  func(s *framing.Stream) { go io.Copy(io.Discard, s) },
		"never ends": func(s *framing.Stream) {
			s.Read(make([]byte, 1<<10))
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				d := r.device(newIdentity(t), "a.relay.test")
				http01 := memconn.Listen(nil)
				done := make(chan error, 1)
				go func() { done <- r.srv.ServeHTTP01(http01) }()
				go func() {
					s, err := d.Accept()
					if err == nil {
						serve(s)
					}
				}()
				c, err := http01.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				io.WriteString(c, "GET /.well-known/acme-challenge/"+strings.Repeat("x", 10_000)+" HTTP/1.1\r\nHost: a.relay.test\r\nUser-Agent: "+strings.Repeat("u", 4000)+"\r\nConnection: close\r\n\r\n")
				b, _ := io.ReadAll(c)
				if took := time.Since(start); took > relay.ChallengeTimeout+time.Second || took < time.Second {
					t.Errorf("%.60q after %v", b, took)
				}
				if name != "never ends" && !strings.Contains(string(b), "502") {
					t.Errorf("got %.60q", b)
				}
				c.Close()
				r.close()
				<-done
			})
		})
	}
}

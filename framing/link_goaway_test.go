package framing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"net"
	"testing/synctest"

	"keystay/framing"
	"keystay/internal/memconn"
)

// Every stream that the relay could open before it acknowledged GOAWAY reaches
// Accept, and nothing after.
func TestGoAwayLosesNoStream(t *testing.T) {
	for range 10 * rounds() {
		relay, remote, _, _ := memLinks(t)
		hung := time.AfterFunc(2*time.Minute, func() { remote.Close() })
		visitor, device := open(t, relay, remote, "") // the session is up
		var opened atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					if relay.NumStreams() > 500 { // well below MaxStreams, whose error is not what is tested
						runtime.Gosched()
						continue
					}
					s, err := relay.Open(header, []byte("x"))
					if err != nil {
						if !errors.Is(err, framing.ErrGoingAway) {
							t.Errorf("open: %v", err)
						}
						return
					}
					opened.Add(1)
					wg.Go(func() {
						defer s.Close()
						if b, err := io.ReadAll(s); string(b) != "served" || err != nil {
							t.Errorf("got %q, %v", b, err)
						}
					})
				}
			})
		}
		accepted := make(chan int64)
		go func() {
			n := int64(0)
			for {
				s, err := remote.Accept()
				if err != nil {
					if err != framing.ErrGoingAway {
						t.Errorf("accept: %v", err)
					}
					accepted <- n
					return
				}
				n++
				if n == 20 {
					go remote.GoAway(context.Background(), framing.GoAway{})
				}
				go func() {
					io.ReadFull(s, make([]byte, 1))
					io.WriteString(s, "served")
					s.Close()
				}()
			}
		}()
		n := <-accepted
		wg.Wait()
		if n != opened.Load() {
			t.Fatalf("%d opened, %d accepted", opened.Load(), n)
		}
		// What was open before lives on, and keeps the link from being idle.
		if _, err := io.WriteString(device, "still here"); err != nil {
			t.Error(err)
		}
		device.Close()
		if b, err := io.ReadAll(visitor); string(b) != "still here" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		visitor.Close()
		io.Copy(io.Discard, device)
		if err := remote.WaitIdle(context.Background()); err != nil {
			t.Error(err)
		}
		hung.Stop()
		remote.Close()
		relay.Close()
	}
}

// An idle remote that goes away has nothing to accept; the code arrives.
func TestGoAwayIdle(t *testing.T) {
	got := make(chan framing.GoAway, 1)
	a, b := memconn.Pipe(0)
	relay, remote := links(t, a, b, framing.Handler{}, framing.Handler{GoAway: func(g framing.GoAway) { got <- g }})
	if err := remote.GoAway(context.Background(), framing.GoAway{}); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Accept(); err != framing.ErrGoingAway {
		t.Errorf("accept: %v", err)
	}
	if _, err := relay.Open(header, nil); !errors.Is(err, framing.ErrGoingAway) {
		t.Errorf("open: %v", err)
	}
	// The relay may go away too.
	sent := framing.GoAway{Code: framing.GoAwayTakeover, In: 3600e9, Text: "taken over"}
	if err := relay.GoAway(context.Background(), sent); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != sent {
		t.Errorf("got %+v", g)
	}
}

// A relay that goes away can still open streams, and the remote takes them.
func TestRelayOpensAfterItsGoAway(t *testing.T) {
	relay, remote, _, _ := memLinks(t)
	if err := relay.GoAway(context.Background(), framing.GoAway{Code: framing.GoAwayTakeover}); err != nil {
		t.Fatal(err)
	}
	open(t, relay, remote, "late")
}

// Over is called once when a link that was let in is over, however it ends, and
// with or without streams.
func TestOver(t *testing.T) {
	for name, end := range map[string]func(relay, remote *framing.Link, conn *memconn.Conn){
		"closed here":  func(relay, _ *framing.Link, _ *memconn.Conn) { relay.Close(); relay.Close() },
		"closed there": func(_, remote *framing.Link, _ *memconn.Conn) { remote.Close() },
		"cut":          func(_, _ *framing.Link, conn *memconn.Conn) { conn.Cut() },
	} {
		for _, streams := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, streams=%d", name, streams), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var relayOver, remoteOver atomic.Int32
					a, b := memconn.Pipe(0)
					relay, remote := links(t, a, b, framing.Handler{Over: func() { relayOver.Add(1) }}, framing.Handler{Over: func() { remoteOver.Add(1) }})
					if streams > 0 {
						open(t, relay, remote, "x")
					}
					<-time.After(time.Minute)
					if relayOver.Load()+remoteOver.Load() > 0 {
						t.Error("Over was called while the link was up")
					}
					end(relay, remote, a)
					<-time.After(time.Minute)
					if relay, remote := relayOver.Load(), remoteOver.Load(); relay != 1 || remote != 1 {
						t.Errorf("Over was called %d times at the relay and %d at the remote", relay, remote)
					}
				})
			})
		}
	}
}

func TestGoAway(t *testing.T) {
	for name, byRelay := range map[string]bool{"relay": true, "remote": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testGoAway(t, byRelay) })
		})
	}
}

func testGoAway(t *testing.T, byRelay bool) {
	a, b := memconn.Pipe(0)
	got := make(chan framing.GoAway, 1)
	handler := framing.Handler{GoAway: func(g framing.GoAway) { got <- g }}
	relay, remote := links(t, a, b, handler, handler)
	v, d := open(t, relay, remote, "x")
	sender := remote
	if byRelay {
		sender = relay
	}
	sent := framing.GoAway{Code: framing.GoAwayShutdown, In: 90 * time.Second, Text: "the machine stops"}
	if err := sender.GoAway(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != sent {
		t.Errorf("got %+v", g)
	}
	if !byRelay {
		if _, err := relay.Open(header, nil); !errors.Is(err, framing.ErrGoingAway) {
			t.Errorf("a stream was opened after the acknowledgement: %v", err)
		}
	}

	// The stream that was open is still served.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := sender.WaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitIdle with an open stream: %v", err)
	}
	d.Write([]byte("y"))
	d.CloseWrite()
	if b, err := io.ReadAll(v); string(b) != "y" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	v.Close()
	io.Copy(io.Discard, d)
	if err := sender.WaitIdle(t.Context()); err != nil {
		t.Errorf("WaitIdle: %v", err)
	}
}

// Who never acknowledges does not hold up the one who goes.
func TestGoAwayUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := rawRemote(t, framing.Handler{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.GoAway(ctx, framing.GoAway{In: 1 << 62}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GoAway: %v", err)
		}
		if b := p.expect(goAway); string(b[2:6]) != "\xff\xff\xff\xff" {
			t.Errorf("GOAWAY in %x ms, want the most there is", b[2:6])
		}
		acknowledged, idle := make(chan error, 1), make(chan error, 1)
		s, _ := l.Open(header, nil)
		go func() { acknowledged <- l.GoAway(t.Context(), framing.GoAway{}) }()
		go func() { idle <- l.WaitIdle(t.Context()) }()
		synctest.Wait()
		l.Close()
		if err := <-acknowledged; !errors.Is(err, net.ErrClosed) {
			t.Errorf("GoAway after Close: %v", err)
		}
		if err := <-idle; err != nil { // the stream went with the link
			t.Errorf("WaitIdle after Close: %v", err)
		}
		broken(t, s)
	})
}

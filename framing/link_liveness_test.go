package framing_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// slowLinks returns a link whose bytes take delay each way, and the middle of
// it, to be cut.
func slowLinks(t *testing.T, delay time.Duration) (relay, remote *framing.Link, cut func()) {
	return slowLinksWith(t, delay, 0)
}

// slowLinksWith is slowLinks with capabilities that both sides name.
func slowLinksWith(t *testing.T, delay time.Duration, capabilities uint32) (relay, remote *framing.Link, cut func()) {
	a, x := memconn.Pipe(0)
	b, y := memconn.Pipe(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { carry(x, y, delay, stop) })
	wg.Go(func() { carry(y, x, delay, stop) })
	relay, remote = linksWith(t, a, b, framing.Handler{}, framing.Handler{}, capabilities)
	t.Cleanup(func() { close(stop); x.Close(); y.Close(); wg.Wait() })
	return relay, remote, func() { x.Cut(); y.Cut() }
}

// carry carries bytes after a delay, until stop is closed.
func carry(from, to net.Conn, delay time.Duration, stop chan struct{}) {
	type piece struct {
		b  []byte
		at time.Time
	}
	pieces := make(chan piece, 1<<12)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			pieces <- piece{b[:n], time.Now().Add(delay)}
		}
	}()
	for p := range pieces {
		select {
		case <-time.After(time.Until(p.at)):
			to.Write(p.b)
		case <-stop:
		}
	}
	to.Close()
}

// hear waits up to a minute of a bubble's time for the end of a link.
func hear(t *testing.T, l *framing.Link) (took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	select {
	case <-l.Done():
		return time.Since(start), l.Err()
	case <-time.After(time.Minute):
		t.Fatal("the link is still up after a minute")
		return 0, nil
	}
}

// alive checks in a bubble that links are up.
func alive(t *testing.T, ls ...*framing.Link) {
	t.Helper()
	synctest.Wait()
	for _, l := range ls {
		if err := l.Err(); err != nil {
			t.Errorf("the link has ended: %v", err)
		}
	}
}

// The remote measures the round-trip time, and the relay learns it from the
// next PING.
func TestRTT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _ := slowLinks(t, 30*time.Millisecond)
		if remote.RTT() != 0 || relay.RTT() != 0 {
			t.Errorf("round-trip times %v and %v before any PING", remote.RTT(), relay.RTT())
		}
		<-time.After(framing.PingInterval + 100*time.Millisecond)
		if got := remote.RTT(); got != 60*time.Millisecond {
			t.Errorf("the remote measured %v, want 60ms", got)
		}
		<-time.After(framing.PingInterval)
		if got := relay.RTT(); got != 60*time.Millisecond {
			t.Errorf("the relay was told %v, want 60ms", got)
		}
		alive(t, relay, remote)
	})
}

// A link that goes silent is noticed by both ends in under 20 s, whatever it
// did before.
func TestSilenceIsNoticed(t *testing.T) {
	for name, prepare := range map[string]func(relay, remote *framing.Link){
		"idle":           func(_, _ *framing.Link) { <-time.After(time.Hour) },
		"just connected": func(_, _ *framing.Link) {},
		"with a visitor": func(relay, remote *framing.Link) { open(t, relay, remote, "x") },
		"in a bulk": func(relay, remote *framing.Link) {
			v, d := open(t, relay, remote, "x")
			go io.Copy(d, zeros{})
			go io.Copy(io.Discard, v)
			<-time.After(100 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay, remote, cut := slowLinks(t, time.Millisecond)
				prepare(relay, remote)
				alive(t, relay, remote)
				cut()
				start := time.Now()
				hear(t, relay)
				hear(t, remote)
				if took := time.Since(start); took >= 20*time.Second {
					t.Errorf("noticed after %v, want under 20s", took)
				}
			})
		})
	}
}

// An idle link lives for ever.
func TestIdleLinkLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, _ := slowLinks(t, 400*time.Millisecond)
		<-time.After(24 * time.Hour)
		alive(t, relay, remote)
	})
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, cut := slowLinks(t, 300*time.Millisecond)
		for _, l := range []*framing.Link{remote, relay} { // either side may ask
			start := time.Now()
			if err := l.Probe(framing.ProbeTimeout); err != nil || time.Since(start) != 600*time.Millisecond {
				t.Errorf("probe of a live link: %v after %v", err, time.Since(start))
			}
		}
		cut()
		start := time.Now()
		if err := remote.Probe(framing.ProbeTimeout); !errors.Is(err, framing.ErrSilent) {
			t.Errorf("probe of a dead link: %v, want ErrSilent", err)
		}
		if took := time.Since(start); took > framing.ProbeTimeout+time.Second {
			t.Errorf("the probe took %v", took)
		}
		if err := remote.Err(); !errors.Is(err, framing.ErrSilent) {
			t.Errorf("the link ended with %v", err)
		}
		if err := remote.Probe(framing.ProbeTimeout); err == nil {
			t.Error("probe of a link that is over: no error")
		}
		relay.Close()
		if err := relay.Probe(framing.ProbeTimeout); !errors.Is(err, framing.ErrClosed) {
			t.Errorf("probe of a closed link: %v", err)
		}
	})
}

// A probe does not end a link whose answer is late behind other data.
func TestProbeOfBusyLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, cut := slowLinks(t, 3*time.Second) // each way
		v, d := open(t, relay, remote, "x")
		go io.Copy(v, zeros{})
		go io.Copy(io.Discard, d)
		<-time.After(time.Minute)
		if err := remote.Probe(framing.ProbeTimeout); err != nil {
			t.Errorf("probe of a busy link: %v", err)
		}
		cut()
		start := time.Now()
		if err := remote.Probe(framing.ProbeTimeout); !errors.Is(err, framing.ErrSilent) {
			t.Errorf("probe of a dead link: %v", err)
		}
		if took := time.Since(start); took > framing.SilenceLimit {
			t.Errorf("the probe took %v", took)
		}
	})
}

// A process that was stopped reads what has arrived before it judges.
func TestStoppedProcessDoesNotJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay, remote, a, _ := memLinks(t)
		<-time.After(time.Minute)
		synctest.Wait()
		framing.Stop(relay, time.Minute) // the remote was not stopped and goes on to PING
		framing.Stop(remote, time.Hour)
		<-time.After(time.Minute)
		alive(t, relay, remote)

		framing.Stop(relay, time.Minute)
		framing.Stop(remote, time.Minute)
		a.Cut() // and meanwhile the link has died
		start := time.Now()
		hear(t, relay)
		hear(t, remote)
		if took := time.Since(start); took > framing.SilenceLimit+framing.ProbeTimeout {
			t.Errorf("a dead link was noticed %v after the stop", took)
		}
	})
}

// A frozen peer still acknowledges what it is sent: only its silence tells.
func TestFrozenPeer(t *testing.T) {
	for name, link := range map[string]func(*testing.T, int) (*framing.Link, *memconn.Conn){"remote": bareRemote, "relay": bareRelay} {
		synctest.Test(t, func(t *testing.T) {
			l, _ := link(t, 1<<20)
			took, err := hear(t, l)
			if !errors.Is(err, framing.ErrSilent) || took >= 20*time.Second {
				t.Errorf("a frozen %s: %v after %v", name, err, took)
			}
		})
	}
}

// A pause of 5 s at any time does not cut a good link: packets that are sent
// again, or a peer that stands still for a moment. Nor does it where the other
// side is of the first implementations, which gave up after 16 s.
func TestPauseIsForgiven(t *testing.T) {
	const pause, first = 5 * time.Second, 16 * time.Second
	if framing.PingInterval+pause > framing.SilenceLimit || framing.PingInterval+3*time.Second > first {
		t.Errorf("a PING every %v is too rare", framing.PingInterval)
	}
	synctest.Test(t, func(t *testing.T) {
		relay, p := rawRemote(t, framing.Handler{})
		for range 10 {
			p.send(rec(ping, make([]byte, 8)))
			p.expect(pong)
			<-time.After(framing.PingInterval + pause)
		}
		alive(t, relay)
	})
	synctest.Test(t, func(t *testing.T) {
		remote, q := rawRelay(t, framing.Handler{})
		for range 10 {
			b := q.expect(ping)
			<-time.After(pause)
			q.send(rec(pong, b))
		}
		alive(t, remote)
	})
}

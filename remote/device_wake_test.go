package remote_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

// A standIn is a relay that grants every name. Its links can be frozen.
type standIn struct {
	ln     net.Listener
	config *tls.Config
	links  chan *frozen // each that came up
	wg     sync.WaitGroup
}

// A frozen is a connection that goes silent, and swallows what is sent to it,
// once it is told to.
type frozen struct {
	net.Conn
	once sync.Once
	cold chan struct{}
}

func (f *frozen) freeze() { f.once.Do(func() { close(f.cold) }) }

func (f *frozen) Write(p []byte) (int, error) {
	select {
	case <-f.cold:
		return len(p), nil
	default:
		return f.Conn.Write(p)
	}
}

func startStandIn(t *testing.T) (*standIn, *testca.CA) {
	ca := testca.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{ln: ln, links: make(chan *frozen, 100), config: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue("relay.test")},
		NextProtos:   []string{framing.Protocol},
	}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.link(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s, ca
}

func (s *standIn) link(c net.Conn) {
	f := &frozen{Conn: c, cold: make(chan struct{})}
	l, _, err := framing.Server(context.Background(), tls.Server(f, s.config))
	if err != nil {
		return
	}
	up := sync.OnceFunc(func() { s.links <- f })
	if l.Welcome(framing.Welcome{PublicPort: 443}, framing.Handler{Claim: func(framing.Claim) error { up(); return nil }}) == nil {
		<-l.Done()
	}
}

// next waits for a link to come up.
func (s *standIn) next(t *testing.T) *frozen {
	t.Helper()
	select {
	case f := <-s.links:
		return f
	case <-time.After(time.Minute):
		t.Fatal("no link came up")
		return nil
	}
}

// A remote that wakes up, or has another network, has a new link as soon as it
// can know that the old one is dead.
func TestRemoteThatWakesUpDialsAnew(t *testing.T) {
	relay, ca := startStandIn(t)
	l, err := remote.Listen(remote.Config{
		Domain: "xyz.relay.test", Relays: []string{"relay.test"}, RelayAddresses: []string{relay.ln.Addr().String()}, Links: 1, RelayRoots: ca.Pool(),
		StateDir: t.TempDir(), TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue("xyz.relay.test")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Shutdown(ctx)
	}()
	link := relay.next(t)
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	remote.WakeUp(l)
	select {
	case <-relay.links:
		t.Error("a live link was dialed anew")
	case <-time.After(framing.ProbeTimeout + time.Second):
	}
	link.freeze()
	start := time.Now()
	remote.WakeUp(l)
	relay.next(t)
	// Without it the old link would be silent for SilenceLimit first, counted from
	// its answer to the first wake-up: far from what a slow machine needs.
	if took := time.Since(start); took > framing.SilenceLimit-framing.ProbeTimeout-2*time.Second {
		t.Errorf("the new link came up %v after the wake-up, want soon after %v", took, framing.ProbeTimeout)
	}
}

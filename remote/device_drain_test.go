package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

const drainName = "xyz.relay.test"

// A drainRelay is a relay for one remote at a time, which it gives every name.
type drainRelay struct {
	ln     net.Listener
	links  chan *framing.Link      // each that has claimed a name
	away   chan framing.GoAwayCode // what remotes said
	wg     sync.WaitGroup
	pauses atomic.Int32 // how often the remote logged that it waits
}

// Handle hears the remote's log.
func (r *drainRelay) Handle(_ context.Context, rec slog.Record) error {
	if strings.Contains(rec.Message, "trying again") {
		r.pauses.Add(1)
	}
	return nil
}

func (r *drainRelay) Enabled(context.Context, slog.Level) bool { return true }
func (r *drainRelay) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *drainRelay) WithGroup(string) slog.Handler            { return r }

func newDrainRelay(t *testing.T, ca *testca.CA) *drainRelay {
	cert := ca.Issue("relay.test")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{framing.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	r := &drainRelay{ln: ln, links: make(chan *framing.Link, 4), away: make(chan framing.GoAwayCode, 4)}
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.link(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); r.wg.Wait() })
	return r
}

func (r *drainRelay) link(c net.Conn) {
	link, _, err := framing.Server(context.Background(), c)
	if err != nil {
		return
	}
	claimed := make(chan struct{})
	err = link.Welcome(framing.Welcome{PublicPort: 443}, framing.Handler{
		Claim:  func(framing.Claim) error { close(claimed); return nil },
		GoAway: func(g framing.GoAway) { r.away <- g.Code },
	})
	if err == nil {
		<-claimed
		r.links <- link
	}
	<-link.Done()
}

func listenForDrain(t *testing.T) (*drainRelay, *remote.Listener, *testca.CA) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	ca := testca.New(t)
	relay := newDrainRelay(t, ca)
	cert := ca.Issue(drainName)
	ln, err := remote.Listen(remote.Config{
		Domain: drainName, Relays: []string{"relay.test"}, RelayAddresses: []string{relay.ln.Addr().String()}, Links: 1, RelayRoots: ca.Pool(),
		Logger: slog.New(relay), StateDir: t.TempDir(), TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ln.Shutdown(ctx)
	})
	return relay, ln, ca
}

// A gate is a visitor's connection whose second write waits for open.
type gate struct {
	net.Conn
	writes  int
	reached chan struct{} // closed at the second write
	open    chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.writes++; g.writes == 2 {
		close(g.reached)
		<-g.open
	}
	return g.Conn.Write(p)
}

// Visitors that the relay sent on before it knew that the remote stops are
// served, also those in the middle of their handshake.
func TestCloseServesWhoIsOnTheWay(t *testing.T) {
	relay, ln, ca := listenForDrain(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	link := <-relay.links

	const visitors = 8
	release := make(chan struct{})
	results := make(chan error, visitors)
	for range visitors {
		stream, err := link.Open(framing.Header{Name: drainName, Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := &gate{Conn: stream, reached: make(chan struct{}), open: release}
		go func() { results <- visitOnce(g, ca) }()
		<-g.reached // its hello has gone, the rest of its handshake has not
	}
	gone := make(chan error, 1)
	go func() {
		<-relay.away
		close(release)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { gone <- ln.Shutdown(ctx) }()
	for range visitors {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

func visitOnce(c net.Conn, ca *testca.CA) error {
	tc := tls.Client(c, &tls.Config{ServerName: drainName, RootCAs: ca.Pool()})
	defer tc.Close()
	if _, err := io.WriteString(tc, "GET / HTTP/1.1\r\nHost: "+drainName+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	b, err := io.ReadAll(tc)
	if err == nil && len(b) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// A visitor that does not finish its handshake does not keep the listener.
func TestCloseWaitsNotForEver(t *testing.T) {
	relay, ln, _ := listenForDrain(t)
	link := <-relay.links
	stream, err := link.Open(framing.Header{Name: drainName, Source: netip.MustParseAddrPort("192.0.2.1:1"), Dest: netip.MustParseAddrPort("192.0.2.2:443")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-relay.away
		cancel() // as the second signal does
	}()
	if err := ln.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// After a GOAWAY for a takeover the remote is back at once, and its old link
// lives on for the visitors that the old process still has.
func TestTakeoverRedialsAtOnce(t *testing.T) {
	relay, _, _ := listenForDrain(t)
	old := <-relay.links
	if err := old.GoAway(context.Background(), framing.GoAway{Code: framing.GoAwayTakeover}); err != nil {
		t.Fatal(err)
	}
	<-relay.links
	if err := old.Err(); err != nil {
		t.Errorf("the old link ended: %v", err)
	}
	if n := relay.pauses.Load(); n != 0 {
		t.Errorf("the remote waited before it dialled again")
	}
}

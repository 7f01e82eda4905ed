package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

func listenForDrain(t *testing.T) (*remote.Listener, *relayLink) {
	r := newRelay(t)
	ln := r.start(nil)
	return ln, r.next()
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
	ln, link := listenForDrain(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	const visitors = 8
	release := make(chan struct{})
	results := make(chan error, visitors)
	for range visitors {
		g := &gate{Conn: link.open(domain, framing.KindTLS), reached: make(chan struct{}), open: release}
		go func() { results <- visitOnce(g, link.ca) }()
		<-g.reached // its hello has gone, the rest of its handshake has not
	}
	gone := make(chan error, 1)
	go func() {
		<-link.goAway
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
	tc := tls.Client(c, &tls.Config{ServerName: domain, RootCAs: ca.Pool()})
	defer tc.Close()
	if _, err := io.WriteString(tc, "GET / HTTP/1.1\r\nHost: "+domain+"\r\nConnection: close\r\n\r\n"); err != nil {
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
	ln, link := listenForDrain(t)
	g := &gate{Conn: link.open(domain, framing.KindTLS), reached: make(chan struct{}), open: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- visitOnce(g, link.ca) }()
	<-g.reached // the remote has it, and has answered its hello
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-link.goAway
		cancel() // as the second signal does
	}()
	if err := ln.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	close(g.open)
	if err := <-ended; err == nil {
		t.Error("the visitor was served")
	}
}

// After a GOAWAY for a takeover the remote is back at once, and its old link
// lives on for the visitors that the old process still has.
func TestTakeoverRedialsAtOnce(t *testing.T) {
	r := newRelay(t)
	logged := make(lines, 100)
	ln := r.start(func(cfg *remote.Config) { cfg.Logger = slog.New(slog.NewTextHandler(logged, nil)) })
	old := r.next()
	if err := old.GoAway(context.Background(), framing.GoAway{Code: framing.GoAwayTakeover}); err != nil {
		t.Fatal(err)
	}
	r.next()
	if err := old.Err(); err != nil {
		t.Errorf("the old link ended: %v", err)
	}
	end(ln)
	close(logged)
	for line := range logged {
		if strings.Contains(line, "trying again") {
			t.Errorf("the remote waited before it dialled again: %s", line)
		}
	}
}

package remote_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"keystay/framing"
)

// A mistake in the program while a visitor is let in resets that visitor's
// connection, and the next one is served: also when there have been as many as there
// may be at once.
func TestPanicResetsOneVisitor(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	var log bytes.Buffer // read when all is over
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg.MaxVisitors = 4
	var faulty atomic.Bool
	faulty.Store(true)
	cfg.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if faulty.Load() {
			panic(h.ServerName)
		}
		return nil, nil
	}
	ln := r.listen(cfg)
	l := r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	for range cfg.MaxVisitors {
		s := l.open(domain, framing.KindTLS)
		tls.Client(s, &tls.Config{ServerName: domain, RootCAs: r.ca.Pool()}).Handshake()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the visitor sees %v", err)
		}
	}
	faulty.Store(false)
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	l.visitor()
	if c := <-accepted; c != nil {
		c.Close()
	}
	end(ln)
	if out := log.String(); strings.Count(out, "level=ERROR") != 1 || strings.Contains(out, domain) {
		t.Errorf("the log: %s", out)
	}
}

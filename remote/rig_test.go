package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"keystay/framing"
	"keystay/remote"
)

const (
	zone   = "relay.test"
	domain = "xyz.relay.test"
	// patience bounds what waits for the network in a test that fails.
	patience = time.Minute
)

var visitorAddr = netip.MustParseAddrPort("192.0.2.7:4711")

// config is one with which Listen works, in a new state directory.
func (r *fakeRelay) config() remote.Config {
	return remote.Config{
		Domain:         domain,
		RelayAddresses: []string{r.addr},
		Links:          1,
		Proxy:          none,
		RelayRoots:     r.ca.Pool(),
		StateDir:       r.t.TempDir(),
		TLS:            &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}, NextProtos: []string{"h2", "http/1.1"}},
		Version:        "test",
		NoRehearsal:    true, // which would ask the system's DNS
	}
}

// listen starts a remote and ends it with the test.
func (r *fakeRelay) listen(cfg remote.Config) *remote.Listener {
	r.t.Helper()
	ln, err := remote.Listen(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { end(ln) })
	return ln
}

// start is listen with the usual configuration but for change, for a name whose
// relay is found, and a log in the test's.
func (r *fakeRelay) start(change func(*remote.Config)) *remote.Listener {
	r.t.Helper()
	cfg := r.config()
	cfg.Logger = slog.New(slog.NewTextHandler(r.t.Output(), nil))
	if change != nil {
		change(&cfg)
	}
	return r.listen(cfg)
}

// end ends a listener and all its connections at once.
func end(ln *remote.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ln.Shutdown(ctx)
}

// next waits for the next link.
func (r *fakeRelay) next() *relayLink {
	r.t.Helper()
	select {
	case l := <-r.up:
		return l
	case <-time.After(patience):
		r.t.Fatal("no remote came")
		return nil
	}
}

// open opens a stream for a visitor of name.
func (l *relayLink) open(name string, kind framing.Kind) *framing.Stream {
	l.t.Helper()
	s, err := l.Open(framing.Header{Name: name, Kind: kind, Source: visitorAddr, Dest: netip.MustParseAddrPort("203.0.113.1:443")}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	l.t.Cleanup(func() { s.Close() })
	return s
}

// visitor is a visitor after its TLS handshake.
func (l *relayLink) visitor(protos ...string) *tls.Conn {
	l.t.Helper()
	tc := tls.Client(l.open(domain, framing.KindTLS), &tls.Config{RootCAs: l.ca.Pool(), ServerName: domain, NextProtos: protos})
	if err := tc.Handshake(); err != nil {
		l.t.Fatal(err)
	}
	return tc
}

// wait waits until the name answers.
func wait(t *testing.T, ln *remote.Listener) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return ln.Wait(ctx)
}

// ended is what Accept returns.
func ended(t *testing.T, ln *remote.Listener) error {
	t.Helper()
	c, err := ln.Accept()
	if err == nil {
		c.Close()
		t.Fatal("a visitor was accepted")
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "accept" {
		t.Errorf("Accept: %#v", err)
	}
	return err
}

// none is a Config.Proxy for no proxy, whatever this machine has.
func none(*http.Request) (*url.URL, error) { return nil, nil }

// expired is a context that is over.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

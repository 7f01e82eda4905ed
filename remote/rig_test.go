package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

const (
	zone   = "relay.test"
	domain = "xyz.relay.test"
	// patience bounds what waits for the network in a test that fails.
	patience = time.Minute
)

var visitorAddr = netip.MustParseAddrPort("192.0.2.7:4711")

// A fakeRelay is a relay made of package framing.
type fakeRelay struct {
	t    *testing.T
	ca   *testca.CA
	ln   net.Listener
	addr string
	up   chan *relayLink // each link, once its first name was granted

	mu     sync.Mutex
	refuse *framing.Refusal               // sent to whoever says hello
	claim  func(name, token string) error // decides about names; nil grants
	conns  map[*tls.Conn]struct{}
	wg     sync.WaitGroup
}

// A relayLink is a link that a fakeRelay has accepted.
type relayLink struct {
	*framing.Link
	t      *testing.T
	ca     *testca.CA
	hello  framing.Hello
	conn   net.Conn
	goAway chan framing.GoAway
}

func newRelay(t *testing.T) *fakeRelay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &fakeRelay{t: t, ca: testca.New(t), ln: ln, addr: ln.Addr().String(), up: make(chan *relayLink, 16), conns: make(map[*tls.Conn]struct{})}
	config := &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(zone, "elsewhere.test")}, NextProtos: []string{framing.Protocol}}
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c, tls.Server(c, config)) })
		}
	})
	t.Cleanup(r.close)
	return r
}

// close ends the relay and its links.
func (r *fakeRelay) close() {
	r.ln.Close()
	r.mu.Lock()
	for c := range r.conns {
		c.NetConn().Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *fakeRelay) serve(c net.Conn, tc *tls.Conn) {
	r.mu.Lock()
	r.conns[tc] = struct{}{}
	refuse := r.refuse
	r.mu.Unlock()
	link, hello, err := framing.Server(context.Background(), tc)
	if err != nil {
		return
	}
	defer link.Close()
	if refuse != nil {
		link.Refuse(*refuse)
		return
	}
	cs := tc.ConnectionState()
	if err := hello.Verify(&cs, zone); err != nil {
		r.t.Errorf("proof: %v", err)
	}
	l := &relayLink{Link: link, t: r.t, ca: r.ca, hello: hello, conn: c, goAway: make(chan framing.GoAway, 1)}
	var once sync.Once
	link.Welcome(framing.Welcome{PublicPort: 8443}, framing.Handler{
		Claim: func(c framing.Claim) error {
			name, token := c.Name, c.Token
			r.mu.Lock()
			claim := r.claim
			r.mu.Unlock()
			if claim != nil {
				if err := claim(name, token); err != nil {
					return err
				}
			}
			once.Do(func() { r.up <- l })
			return nil
		},
		GoAway: func(g framing.GoAway) { l.goAway <- g },
	})
	<-link.Done()
}

// set changes how the relay answers.
func (r *fakeRelay) set(refuse *framing.Refusal, claim func(name, token string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse, r.claim = refuse, claim
}

// config is one with which Listen works, in a new state directory.
func (r *fakeRelay) config() remote.Config {
	return remote.Config{
		Domain:         domain,
		RelayAddresses: []string{r.addr},
		Links:          1,
		Proxy:          func(*http.Request) (*url.URL, error) { return nil, nil },
		RelayRoots:     r.ca.Pool(),
		StateDir:       r.t.TempDir(),
		TLS:            &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(domain)}, NextProtos: []string{"h2", "http/1.1"}},
		Version:        "test",
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

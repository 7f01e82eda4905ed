package remote_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/remote"
)

// A path is a relay with something on the way to it that may break one kind of
// connection.
type path struct {
	t     *testing.T
	ca    *testca.CA
	ln    net.Listener
	site  chan net.Conn // what the HTTP server serves
	links chan struct{} // one element for each link that is up

	mu     sync.Mutex
	breaks map[string]func(net.Conn) *tls.Config // by ALPN protocol; see hello
	forged bool                                  // proofs fail
	seen   []string                              // the ALPN protocol of each hello
	came   chan struct{}                         // one element for each of them
	open   []net.Conn
	wg     sync.WaitGroup
}

const raw, web = framing.Protocol, "http/1.1"

func newPath(t *testing.T) *path {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{t: t, ca: testca.New(t), ln: ln, site: make(chan net.Conn), links: make(chan struct{}, 16),
		breaks: make(map[string]func(net.Conn) *tls.Config), came: make(chan struct{}, 64)}
	srv := &http.Server{Handler: http.HandlerFunc(p.upgrade)}
	p.wg.Go(func() { srv.Serve(handed{p.site, ln.Addr()}) })
	p.wg.Go(func() {
		defer close(p.site)
		var conns sync.WaitGroup
		defer conns.Wait()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.note(c)
			conns.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.cut()
		srv.Close()
		p.wg.Wait()
	})
	return p
}

// handed is a listener of the connections in a channel.
type handed struct {
	conns <-chan net.Conn
	addr  net.Addr
}

func (h handed) Accept() (net.Conn, error) {
	if c, ok := <-h.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (h handed) Close() error   { return nil }
func (h handed) Addr() net.Addr { return h.addr }

func (p *path) note(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
}

// cut ends all connections.
func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

func (p *path) serve(c net.Conn) {
	good := &tls.Config{Certificates: []tls.Certificate{p.ca.Issue("relay.test")}, NextProtos: []string{raw, web}}
	tc := tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		proto := strings.Join(h.SupportedProtos, " ")
		p.mu.Lock()
		p.seen = append(p.seen, proto)
		breaks := p.breaks[proto]
		p.mu.Unlock()
		p.came <- struct{}{}
		if breaks == nil {
			return good, nil
		}
		if config := breaks(c); config != nil {
			return config, nil
		}
		return nil, errors.New("broken")
	}})
	if tc.Handshake() != nil {
		c.Close()
		return
	}
	if tc.ConnectionState().NegotiatedProtocol == raw {
		cs := tc.ConnectionState()
		p.link(tc, &cs)
		return
	}
	p.site <- tc
}

func (p *path) upgrade(w http.ResponseWriter, r *http.Request) {
	if c, err := framing.AcceptWebSocket(w, r); err == nil {
		p.wg.Go(func() { p.link(c, r.TLS) })
	}
}

// link is the relay's end of a link.
func (p *path) link(c net.Conn, cs *tls.ConnectionState) {
	link, hello, err := framing.Server(context.Background(), c)
	if err != nil {
		return
	}
	defer link.Close()
	p.mu.Lock()
	forged := p.forged
	p.mu.Unlock()
	if err := hello.Verify(cs, "relay.test"); err != nil || forged {
		link.Refuse(framing.Refusal{Code: framing.RefusedProof, Text: "something ends TLS"})
		return
	}
	link.Welcome(framing.Welcome{PublicPort: 443}, framing.Handler{
		Claim: func(framing.Claim) error { p.links <- struct{}{}; return nil },
	})
	<-link.Done()
}

// hello makes f decide what becomes of the hellos with an ALPN protocol: it
// may close the connection, or give another configuration. nil is to pass.
func (p *path) hello(proto string, f func(net.Conn) *tls.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breaks[proto] = f
}

// hellos returns the ALPN protocols seen, and forgets them.
func (p *path) hellos() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// Ways to break a connection.
func reset(c net.Conn) *tls.Config {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	return nil
}

func eof(c net.Conn) *tls.Config {
	c.Close()
	return nil
}

// alert answers with a fatal alert.
func alert(code byte) func(net.Conn) *tls.Config {
	return func(c net.Conn) *tls.Config {
		c.Write([]byte{21, 3, 3, 0, 2, 2, code})
		c.Close()
		return nil
	}
}

// answers ends TLS with a certificate of ca and the ALPN protocols.
func (p *path) answers(ca *testca.CA, protos ...string) func(net.Conn) *tls.Config {
	cert := ca.Issue("relay.test")
	return func(net.Conn) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protos}
	}
}

// listen starts a remote with a state directory and ends it with the test.
func (p *path) listen(dir string, change func(*remote.Config)) *remote.Listener {
	p.t.Helper()
	cfg := remote.Config{
		Domain:         "xyz.relay.test",
		Relays:         []string{"relay.test"},
		RelayAddresses: []string{p.ln.Addr().String()},
		Links:          1,
		RelayRoots:     p.ca.Pool(),
		StateDir:       dir,
		TLS:            &tls.Config{Certificates: []tls.Certificate{p.ca.Issue("xyz.relay.test")}},
		Proxy:          func(*http.Request) (*url.URL, error) { return nil, nil }, // whatever this machine has
		Logger:         slog.New(slog.NewTextHandler(p.t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	ln, err := remote.Listen(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { stop(ln) })
	return ln
}

func stop(ln *remote.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ln.Shutdown(ctx)
}

// fails waits until so many hellos have come that the last belongs to the
// second attempt, and returns why the first one failed.
func (p *path) fails(ln *remote.Listener, hellos int) error {
	p.t.Helper()
	for range hellos {
		<-p.came
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ln.Wait(ctx)
}

func hintsOf(err error) string { return strings.Join(hint.All(err), "\n") }

// Whatever breaks raw TLS on the path, a WebSocket is tried at once, and is
// what a later start begins with.
func TestFallsBackToWebSocket(t *testing.T) {
	for name, breaks := range map[string]func(*path) func(net.Conn) *tls.Config{
		"reset":                   func(*path) func(net.Conn) *tls.Config { return reset },
		"EOF":                     func(*path) func(net.Conn) *tls.Config { return eof },
		"no_application_protocol": func(p *path) func(net.Conn) *tls.Config { return p.answers(p.ca, web) },
		"handshake_failure":       func(*path) func(net.Conn) *tls.Config { return alert(40) },
		"no ALPN in the answer":   func(p *path) func(net.Conn) *tls.Config { return p.answers(p.ca) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.hello(raw, breaks(p))
			dir := t.TempDir()
			ln := p.listen(dir, nil)
			<-p.links
			if got := p.hellos(); !slices.Equal(got, []string{raw, web}) {
				t.Errorf("hellos %q", got)
			}
			stop(ln)
			b, err := os.ReadFile(filepath.Join(dir, "transport"))
			if err != nil || !strings.HasPrefix(string(b), "relay.test wss 2") {
				t.Errorf("remembered %q, %v", b, err)
			}
			p.listen(dir, nil)
			<-p.links
			if got := p.hellos(); !slices.Equal(got, []string{web}) {
				t.Errorf("hellos of the next start %q", got)
			}
		})
	}
}

// largeHello is a ClientHello that does not fit into one packet everywhere.
const largeHello = 1200

// dropsLarge passes everything on to the relay, but ends a connection whose
// first record is a large one.
func (p *path) dropsLarge() (addr string) {
	p.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	pass := func(c net.Conn) {
		defer c.Close()
		first := make([]byte, 5)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if binary.BigEndian.Uint16(first[3:]) > largeHello {
			c.(*net.TCPConn).SetLinger(0)
			return
		}
		to, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			return
		}
		defer to.Close()
		p.note(c)
		p.wg.Go(func() { io.Copy(c, to); c.Close() })
		to.Write(first)
		io.Copy(to, c)
	}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { pass(c) })
		}
	})
	p.t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// A path that loses large hellos lets the next one through, which is small,
// whatever the transport; the log says so with a hint, and the next start begins
// with a small one.
func TestSmallHelloAfterOneThatWasLost(t *testing.T) {
	for _, use := range []remote.Transport{remote.TransportAuto, remote.TransportTLS, remote.TransportWSS} {
		t.Run(string(use), func(t *testing.T) {
			p := newPath(t)
			addr := p.dropsLarge()
			logged := make(lines, 100)
			dir := t.TempDir()
			links := 1
			start := func() *remote.Listener {
				return p.listen(dir, func(c *remote.Config) {
					c.RelayAddresses, c.Transport, c.Links = []string{addr}, use, links
					c.Logger = slog.New(slog.NewTextHandler(logged, nil))
				})
			}
			if use == remote.TransportAuto {
				links = 2 // the second one finds out that TLS gets through
			}
			ln := start()
			for range links {
				<-p.links
			}
			for hint := ""; !strings.Contains(hint, "hint="); {
				if hint = <-logged; !strings.Contains(hint, "with a smaller first message") {
					hint = ""
				}
			}
			stop(ln)
			want := map[remote.Transport][]string{remote.TransportAuto: {web, raw}, remote.TransportTLS: {raw}, remote.TransportWSS: {web}}
			if got := p.hellos(); !slices.Equal(got, want[use]) {
				t.Errorf("hellos %q, want %q", got, want[use])
			}
			if use != remote.TransportAuto {
				return
			}
			if b, err := os.ReadFile(filepath.Join(dir, "transport")); err != nil || !strings.HasPrefix(string(b), "relay.test tls 2") || !strings.HasSuffix(string(b), " small\n") {
				t.Errorf("remembered %q, %v", b, err)
			}
			links = 1
			start()
			<-p.links
			if got := p.hellos(); !slices.Equal(got, []string{raw}) {
				t.Errorf("hellos of the next start %q", got)
			}
		})
	}
}

// What another transport would meet as well is no reason for one.
func TestNoOtherWay(t *testing.T) {
	other := testca.New(t)
	for name, tt := range map[string]struct {
		breaks func(*path) func(net.Conn) *tls.Config
		text   string
		hint   string
	}{
		"certificate": {func(p *path) func(net.Conn) *tls.Config { return p.answers(other, raw, web) },
			`issued by "keystay test CA"`, "something between this device and the relay ends TLS"},
		"certificate without ALPN": {func(p *path) func(net.Conn) *tls.Config { return p.answers(other) },
			`issued by "keystay test CA"`, "something between this device and the relay ends TLS"},
		"unrecognized_name": {func(*path) func(net.Conn) *tls.Config { return alert(112) }, "under another name", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.hello(raw, tt.breaks(p))
			err := p.fails(p.listen(t.TempDir(), nil), 2)
			if got := p.hellos(); slices.Contains(got, web) {
				t.Errorf("hellos %q", got)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(hintsOf(err), tt.hint) {
				t.Errorf("%v\n%s", err, hintsOf(err))
			}
		})
	}
}

// A proof that fails is final, on whatever transport.
func TestBadProofIsFinal(t *testing.T) {
	for name, want := range map[string][]string{"raw": {raw}, "web": {raw, web}} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.forged = true
			if len(want) > 1 {
				p.hello(raw, reset)
			}
			_, err := p.listen(t.TempDir(), nil).Accept()
			var refusal *framing.Refusal
			if !errors.As(err, &refusal) || refusal.Code != framing.RefusedProof {
				t.Errorf("got %v", err)
			}
			if got := p.hellos(); !slices.Equal(got, want) {
				t.Errorf("hellos %q, want %q", got, want)
			}
		})
	}
}

// A transport that is asked for is the only one.
func TestFixedTransport(t *testing.T) {
	p := newPath(t)
	dir := t.TempDir()
	ln := p.listen(dir, func(c *remote.Config) { c.Transport = remote.TransportWSS })
	<-p.links
	stop(ln)
	if got := p.hellos(); !slices.Equal(got, []string{web}) {
		t.Errorf("wss: hellos %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "transport")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("wss: remembered, %v", err)
	}
	p.hello(raw, reset)
	p.fails(p.listen(dir, func(c *remote.Config) { c.Transport = remote.TransportTLS }), 3)
	if got := p.hellos(); slices.Contains(got, web) {
		t.Errorf("tls: hellos %q", got)
	}
	if _, err := remote.Listen(remote.Config{StateDir: dir, Transport: "ws"}); err == nil {
		t.Error("any transport will do")
	}
}

// What has worked is tried alone, and forgotten when it fails: then both are
// tried.
func TestTransportIsForgotten(t *testing.T) {
	p := newPath(t)
	dir := t.TempDir()
	p.listen(dir, nil)
	<-p.links
	if got := p.hellos(); !slices.Equal(got, []string{raw}) {
		t.Fatalf("hellos %q", got)
	}
	p.hello(raw, reset)
	p.cut()
	<-p.links
	if got := p.hellos(); !slices.Equal(got, []string{raw, raw, web}) {
		t.Errorf("after raw TLS broke: hellos %q", got)
	}
	p.hello(raw, nil)
	p.hello(web, reset)
	p.cut()
	<-p.links
	if got := p.hellos(); !slices.Equal(got, []string{web, raw}) {
		t.Errorf("after the WebSocket broke: hellos %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "transport")); err != nil || len(b) != 0 {
		t.Errorf("still remembered: %q, %v", b, err)
	}
}

// When nothing gets through, the error says what happened to each transport.
func TestNothingGetsThrough(t *testing.T) {
	p := newPath(t)
	p.hello(raw, reset)
	p.hello(web, eof)
	err := p.fails(p.listen(t.TempDir(), nil), 3)
	if text := err.Error(); !strings.Contains(text, "over TLS: ") || !strings.Contains(text, "over a WebSocket: ") {
		t.Errorf("got %s", text)
	}
	if !strings.Contains(hintsOf(err), "--proxy") {
		t.Errorf("hints %s", hintsOf(err))
	}
}

// A relay that takes no connection is not asked twice in one attempt.
func TestClosedPort(t *testing.T) {
	p := newPath(t)
	p.ln.Close()
	asked := make(chan string, 16)
	ln := p.listen(t.TempDir(), func(c *remote.Config) {
		c.Proxy = func(r *http.Request) (*url.URL, error) {
			asked <- r.URL.String()
			return nil, nil
		}
	})
	err := afterThree(asked, ln)
	if !errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "WebSocket") {
		t.Errorf("got %v", err)
	}
}

// afterThree returns why there is no session once a third connection is tried,
// so that at least one attempt is over.
func afterThree(asked <-chan string, ln *remote.Listener) error {
	for range 3 {
		<-asked
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ln.Wait(ctx)
}

// The proxy is chosen for the relay's name, and an error of it names it.
func TestProxyIsChosen(t *testing.T) {
	p := newPath(t)
	asked := make(chan string, 16)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	ln := p.listen(t.TempDir(), func(c *remote.Config) {
		c.Proxy = func(r *http.Request) (*url.URL, error) {
			asked <- r.URL.String()
			return &url.URL{Scheme: "http", Host: gone.Addr().String(), User: url.UserPassword("me", "hunter2")}, nil
		}
	})
	if got := <-asked; got != "https://relay.test:443" {
		t.Errorf("a proxy for %s", got)
	}
	if err = afterThree(asked, ln); strings.Contains(err.Error(), "WebSocket") {
		t.Errorf("asked for the same connection twice: %v", err)
	}
	if !strings.Contains(err.Error(), "proxy http://"+gone.Addr().String()+": ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if hints := hintsOf(err); !strings.Contains(hints, "--proxy none") || strings.Contains(hints, "DNS") {
		t.Errorf("hints %s", hints)
	}
	if got := p.hellos(); len(got) > 0 {
		t.Errorf("hellos %q", got)
	}
}

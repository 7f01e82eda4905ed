package remote_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/testca"
	"keystay/internal/testnet"
)

// A fakeRelay is a relay made of package framing. It grants every name to every
// remote, but for what a test tells it with set, answer and the options of
// newRelay.
type fakeRelay struct {
	t    *testing.T
	ca   *testca.CA
	ln   net.Listener
	addr string
	cert tls.Certificate
	up   chan *relayLink // each link, once its first name was granted
	came chan struct{}   // one element for each ClientHello

	protos  []string // the ALPN protocols it speaks: raw, and perhaps web
	freezes bool     // its links can be frozen
	site    *site    // what it serves over HTTP/1.1

	mu        sync.Mutex
	refuse    *framing.Refusal               // sent to whoever says hello
	claim     func(name, token string) error // decides about names; nil grants
	answers   map[string]answer              // by ALPN protocol or server name
	strangers answer                         // for other server names than those in answers; nil is asRelay
	hellos    []hello
	claims    []claim
	rules     framing.Rules                            // of the last claim
	unclaimed []string                                 // names that were taken off a link
	words     []string                                 // of the claims
	release   error                                    // what releases are answered with
	released  []string                                 // what was to be given back
	orderIn   time.Duration                            // said with each name
	certified bool                                     // of the last claim
	order     func(name string, begins bool) bool      // decides about turns; nil gives nobody one
	port      uint16                                   // that each claim of a TCP port gets; 0 is none
	public    uint16                                   // the port for visitors that it says; 0 is 8443
	nodes     framing.Nodes                            // that it tells of; none where there is no own one
	wanted    chan int                                 // each time that lanes are wanted, how many, none of which it grants; nil has no lanes
	links     map[*relayLink]struct{}                  // that are up
	decide    func(framing.Hello, framing.Claim) error // about claims, beside claim; nil grants
	conns     map[net.Conn]struct{}                    // nil once the relay is closed
	wg        sync.WaitGroup
}

// The ALPN protocols of the two transports.
const raw, web = framing.Protocol, "http/1.1"

// A hello is what a ClientHello said, a claim what a CLAIM said, and to which relay.
type (
	hello struct{ name, proto string }
	claim struct{ relay, name, token string }
)

// A relayLink is a link that a fakeRelay has accepted.
type relayLink struct {
	*framing.Link
	t      *testing.T
	ca     *testca.CA
	hello  framing.Hello
	conn   net.Conn // below TLS
	goAway chan framing.GoAway
}

// webSocket is an option: the relay takes links over a WebSocket too.
func webSocket(r *fakeRelay) { r.protos = []string{raw, web} }

// freezable is an option: links can be frozen.
func freezable(r *fakeRelay) { r.freezes = true }

// newRelay starts a relay, which ends with the test. Then all goroutines that
// came with it must be gone.
func newRelay(t *testing.T, options ...func(*fakeRelay)) *fakeRelay {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before, testnet.Lingering()) })
	r := &fakeRelay{t: t, ca: testca.New(t), up: make(chan *relayLink, 128), came: make(chan struct{}, 64),
		protos: []string{raw}, answers: make(map[string]answer), conns: make(map[net.Conn]struct{}),
		site: &site{conns: make(chan net.Conn), done: make(chan struct{})}}
	r.cert = r.ca.Issue(zone)
	for _, option := range options {
		option(r)
	}
	srv := &http.Server{Handler: http.HandlerFunc(r.upgrade)}
	r.wg.Go(func() { srv.Serve(r.site) })
	t.Cleanup(r.wg.Wait)
	t.Cleanup(func() { srv.Close() })
	r.ln = acceptAll(t, r.serve)
	r.addr = r.ln.Addr().String()
	t.Cleanup(r.close) // before what waits
	return r
}

// acceptAll lets f serve each connection to a listener on loopback, which ends
// with the test.
func acceptAll(t *testing.T, f func(net.Conn)) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveAll(t, ln, f)
	return ln
}

// serveAll lets f serve each connection to a listener, which ends with the test.
func serveAll(t *testing.T, ln net.Listener, f func(net.Conn)) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f(c) })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { ln.Close() })
}

// note keeps a connection for cut. It reports false when the relay is closed.
func (r *fakeRelay) note(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

// cut ends all connections.
func (r *fakeRelay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
}

// close ends the relay and its links.
func (r *fakeRelay) close() {
	r.ln.Close()
	r.cut()
	r.mu.Lock()
	r.conns = nil
	r.mu.Unlock()
}

// serve is one connection.
func (r *fakeRelay) serve(c net.Conn) {
	if !r.note(c) {
		c.Close()
		return
	}
	below := c
	if r.freezes {
		below = &frozen{Conn: c, cold: make(chan struct{})}
	}
	tc := tls.Server(below, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if config := r.greet(c, h); config != nil {
			return config, nil
		}
		return nil, errors.New("broken")
	}})
	if tc.Handshake() != nil {
		c.Close()
		return
	}
	cs := tc.ConnectionState()
	if cs.NegotiatedProtocol != raw {
		r.site.hand(tc)
		return
	}
	r.link(below, tc, &cs)
}

// greet notes a hello and returns what it is answered with, or nil if c was
// dealt with.
func (r *fakeRelay) greet(c net.Conn, h *tls.ClientHelloInfo) *tls.Config {
	proto := strings.Join(h.SupportedProtos, " ")
	r.mu.Lock()
	r.hellos = append(r.hellos, hello{h.ServerName, proto})
	a := r.answers[proto]
	if a == nil {
		a = r.answers[h.ServerName]
	}
	if a == nil {
		a = r.strangers
	}
	r.mu.Unlock()
	select {
	case r.came <- struct{}{}:
	default:
	}
	if a == nil {
		return &tls.Config{Certificates: []tls.Certificate{r.cert}, NextProtos: r.protos}
	}
	return a(r, c, h.ServerName)
}

// upgrade makes a link of an HTTP request, if the relay takes such.
func (r *fakeRelay) upgrade(w http.ResponseWriter, req *http.Request) {
	if !slices.Contains(r.protos, web) {
		http.NotFound(w, req)
		return
	}
	if c, err := framing.AcceptWebSocket(w, req); err == nil {
		r.wg.Go(func() { r.link(c, c, req.TLS) })
	}
}

// link is the relay's end of a link on conn.
func (r *fakeRelay) link(below, conn net.Conn, cs *tls.ConnectionState) {
	link, hello, err := framing.Server(context.Background(), conn)
	if err != nil {
		return
	}
	defer link.Close()
	r.mu.Lock()
	refuse := r.refuse
	r.mu.Unlock()
	if refuse != nil {
		link.Refuse(*refuse)
		return
	}
	if err := hello.Verify(cs, cs.ServerName); err != nil {
		r.t.Errorf("proof: %v", err)
	}
	l := &relayLink{Link: link, t: r.t, ca: r.ca, hello: hello, conn: below, goAway: make(chan framing.GoAway, 8)}
	var once sync.Once
	r.mu.Lock()
	said := framing.Welcome{PublicPort: cmp.Or(r.public, 8443)}
	if r.port != 0 {
		said.Capabilities = framing.CapabilityPorts
	}
	if r.wanted != nil {
		said.Capabilities |= framing.CapabilityLanes
	}
	r.mu.Unlock()
	link.Welcome(said, framing.Handler{
		Welcomed: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.links == nil {
				r.links = make(map[*relayLink]struct{})
			}
			r.links[l] = struct{}{}
			if r.nodes.Own != "" {
				link.TellNodes(r.nodes)
			}
		},
		Claim: func(_ context.Context, c framing.Claim) (framing.Claimed, error) {
			r.mu.Lock()
			r.claims = append(r.claims, claim{cs.ServerName, c.Name, c.Token})
			r.rules, r.certified = c.Rules, c.Certified
			r.words = append(r.words, c.Word)
			decide, also := r.claim, r.decide
			r.mu.Unlock()
			if also != nil {
				if err := also(hello, c); err != nil {
					return framing.Claimed{}, err
				}
			}
			if decide != nil {
				if err := decide(c.Name, c.Token); err != nil {
					return framing.Claimed{}, err
				}
			}
			once.Do(func() { r.up <- l })
			r.mu.Lock()
			defer r.mu.Unlock()
			granted := framing.Claimed{OrderIn: r.orderIn}
			if _, _, ok := framing.ParsePortName(c.Name); ok {
				granted.Port = r.port
			}
			return granted, nil
		},
		Release: func(_ context.Context, name string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.released = append(r.released, name)
			return r.release
		},
		Unclaim: func(name string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.unclaimed = append(r.unclaimed, name)
		},
		Order:  func(name string, begins bool) bool { return r.order != nil && r.order(name, begins) },
		GoAway: func(g framing.GoAway) { l.goAway <- g },
		LaneTokens: func(n int) []framing.LaneToken {
			r.wanted <- n
			return nil
		},
	})
	<-link.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
}

// set changes how the relay answers HELLO and CLAIM.
func (r *fakeRelay) set(refuse *framing.Refusal, claim func(name, token string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse, r.claim = refuse, claim
}

// releaseWith changes how the relay answers RELEASE.
func (r *fakeRelay) releaseWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release = err
}

// answer changes how the relay answers hellos with an ALPN protocol, or for a
// server name; nil is as ever.
func (r *fakeRelay) answer(to string, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[to] = a
}

// seen returns the ALPN protocol of each hello since seen was called last.
func (r *fakeRelay) seen() (protos []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hellos {
		protos = append(protos, h.proto)
	}
	r.hellos = nil
	return protos
}

// visited returns the relays that hellos and claims were for since it was called
// last, each once in a row, and the claims.
func (r *fakeRelay) visited() (asked string, claims []claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, h := range r.hellos {
		names = append(names, h.name)
	}
	claims = r.claims
	r.hellos, r.claims = nil, nil
	return strings.Join(slices.Compact(names), " "), claims
}

// An answer is how a relay answers a hello for a server name: with a configuration
// of TLS, or, if that is nil, by what it does to the connection.
type answer func(r *fakeRelay, c net.Conn, name string) *tls.Config

// asRelay is what a relay of that name answers.
func asRelay(r *fakeRelay, _ net.Conn, name string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(name)}, NextProtos: r.protos}
}

// speaking ends TLS with a certificate of ca, nil is the relay's, and ALPN protocols.
func speaking(ca *testca.CA, protos ...string) answer {
	return func(r *fakeRelay, _ net.Conn, name string) *tls.Config {
		issuer := ca
		if issuer == nil {
			issuer = r.ca
		}
		return &tls.Config{Certificates: []tls.Certificate{issuer.Issue(name)}, NextProtos: protos}
	}
}

// reset ends a connection abruptly.
func reset(_ *fakeRelay, c net.Conn, _ string) *tls.Config {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	return nil
}

// eof ends a connection without a word.
func eof(_ *fakeRelay, c net.Conn, _ string) *tls.Config {
	c.Close()
	return nil
}

// alert is a fatal alert.
func alert(code byte) answer {
	return func(_ *fakeRelay, c net.Conn, _ string) *tls.Config {
		c.Write([]byte{21, 3, 3, 0, 2, 2, code})
		c.Close()
		return nil
	}
}

// A site is a listener of the connections that are handed to it.
type site struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (s *site) hand(c net.Conn) {
	select {
	case s.conns <- c:
	case <-s.done:
		c.Close()
	}
}

func (s *site) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *site) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *site) Addr() net.Addr { return &net.TCPAddr{} }

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

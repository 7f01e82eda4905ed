package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/keyname"
	"keystay/internal/testca"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

const zone = "relay.test"

// patience bounds what waits for the network in a test that fails.
const patience = time.Minute

// A hopRig is several nodes of one relay in one process, which see at once what is
// connected where.
type hopRig struct {
	t     *testing.T
	ca    *testca.CA
	nodes []*hopNode // set changes one; the test's own goroutine alone reads it without named and all

	changing sync.Mutex // of nodes
}

// A hopNode is a node, and what it knows of the others.
type hopNode struct {
	*hopRig
	name   string
	srv    *relay.Server
	public string // the address of its public port
	peers  string // that for other nodes
	log    *lockedBuffer
	pools  *hopPools
	hops   *hopServer

	mu     sync.Mutex
	stale  map[string][]string // nodes that are taken to have a name
	turn   map[string]string   // where a name's turn to order is
	newest relay.Claimed       // of its name, on another node
	missed []string            // what was said to be missing, as node/name
	asked  []string            // nodes that were asked to take a visitor
	hopped chan struct{}       // has an element for each that took one
}

// newHopRig returns so many nodes, named a, b and so on; set may change their servers.
func newHopRig(t *testing.T, n int, set func(*hopNode)) *hopRig {
	t.Helper()
	r := &hopRig{t: t, ca: testca.New(t)}
	for i := range n {
		r.nodes = append(r.nodes, r.node(string(rune('a'+i)), set))
	}
	return r
}

func (r *hopRig) node(name string, set func(*hopNode)) *hopNode {
	r.t.Helper()
	grants, err := names.OpenGrants(r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { grants.Close() })
	n := &hopNode{hopRig: r, name: name, log: &lockedBuffer{}, hopped: make(chan struct{}, 1024)}
	n.srv = &relay.Server{
		Domain:  zone,
		TLS:     &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(zone)}},
		Names:   &names.Names{Grants: grants},
		Version: "test",
		Nodes:   n,
		Logger:  slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	n.srv.SetLimits(limits.Config{Exempt: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
	n.pools = &hopPools{dial: r.dial, dialTime: patience}
	n.hops = &hopServer{serve: func(c duplex.Conn, h relay.Hop, yes func(relay.Host) error) error { return n.srv.ServeHop(c, h, yes) }}
	if set != nil {
		set(n)
	}
	n.serve()
	return n
}

// serve begins to serve visitors, remotes and other nodes.
func (n *hopNode) serve() {
	t := n.t
	public, peers := listen(t), listen(t)
	n.public, n.peers = public.Addr().String(), peers.Addr().String()
	served := make(chan error, 1)
	go func() { served <- n.srv.Serve(public) }()
	var conns sync.WaitGroup
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := peers.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { n.serveHop(c) })
		}
	}()
	t.Cleanup(func() {
		peers.Close()
		n.pools.end()
		n.hops.end()
		n.srv.Close()
		<-served
		<-accepted
		conns.Wait()
		if p := n.srv.Status().Panics; p != 0 {
			t.Errorf("%d panics:\n%s", p, n.log)
		}
	})
}

// serveHop serves a connection of another node.
func (n *hopNode) serveHop(c net.Conn) {
	tc := tls.Server(&framing.TLSRecordConn{Conn: c}, &tls.Config{Certificates: []tls.Certificate{n.ca.Issue("node")}, NextProtos: []string{ProtocolHop}, MinVersion: tls.VersionTLS13})
	if err := tc.Handshake(); err != nil {
		c.Close()
		return
	}
	n.hops.serveConn(machine{}, tc)
}

// dial connects to a node for a visitor.
func (r *hopRig) dial(ctx context.Context, node string) (*tls.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.named(node).peers)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: c}, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "node", NextProtos: []string{ProtocolHop}})
	if err := tc.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return tc, nil
}

// set has a node in the place of another one.
func (r *hopRig) set(i int, n *hopNode) {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.nodes[i] = n
}

func (r *hopRig) all() []*hopNode {
	r.changing.Lock()
	defer r.changing.Unlock()
	return slices.Clone(r.nodes)
}

func (r *hopRig) named(node string) *hopNode {
	all := r.all()
	return all[slices.IndexFunc(all, func(n *hopNode) bool { return n.name == node })]
}

// Find implements relay.Nodes: what is connected elsewhere, or is taken to be.
func (n *hopNode) Find(name string, _ bool, except []string) (relay.Place, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, node := range n.stale[name] {
		if !slices.Contains(except, node) {
			return relay.Place{Node: node}, true
		}
	}
	for _, o := range n.all() {
		if o == n || slices.Contains(except, o.name) || slices.Contains(n.missed, o.name+"/"+name) {
			continue
		}
		if _, ok := o.srv.Present(name); ok {
			return relay.Place{Node: o.name}, true
		}
	}
	return relay.Place{}, false
}

func (n *hopNode) Turn(name string) (relay.Place, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	node, ok := n.turn[name]
	return relay.Place{Node: node}, ok
}

func (n *hopNode) Miss(p relay.Place, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed = append(n.missed, p.Node+"/"+name)
	n.stale[name] = slices.DeleteFunc(n.stale[name], func(node string) bool { return node == p.Node })
}

func (n *hopNode) Newest(name string) (relay.Claimed, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.newest, n.newest.Name == name
}

func (n *hopNode) Order(string, framing.Run, bool, func() bool) bool { return true }

func (n *hopNode) Hop(ctx context.Context, node string, h relay.Hop) (duplex.Conn, relay.Host, error) {
	n.mu.Lock()
	n.asked = append(n.asked, node)
	n.mu.Unlock()
	c, host, err := n.pools.hop(ctx, node, h)
	if err == nil {
		select {
		case n.hopped <- struct{}{}:
		default:
		}
	}
	return c, host, err
}

// believe makes the node take others to have a name.
func (n *hopNode) believe(name string, nodes ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stale == nil {
		n.stale = make(map[string][]string)
	}
	n.stale[name] = nodes
}

// misses is what was said to be missing so far.
func (n *hopNode) misses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.missed)
}

// asks is which nodes were asked so far.
func (n *hopNode) asks() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A hopDevice is a remote made of package framing.
type hopDevice struct {
	*framing.Link
	key ed25519.PrivateKey
}

// label is the name made from the device's key.
func (d *hopDevice) label() string {
	return keyname.Label(d.key.Public().(ed25519.PublicKey), "") + "." + zone
}

// device connects a device to a node that holds names, and its label, which stands
// for "".
func (n *hopNode) device(serve func(*framing.Stream), claims ...framing.Claim) *hopDevice {
	n.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.deviceOf(key, serve, claims...)
}

func (n *hopNode) deviceOf(key ed25519.PrivateKey, serve func(*framing.Stream), claims ...framing.Claim) *hopDevice {
	n.t.Helper()
	return n.deviceRun(key, framing.Run{Number: 1, ID: [16]byte{1}}, serve, claims...)
}

// deviceRun is deviceOf for one run of the device.
func (n *hopNode) deviceRun(key ed25519.PrivateKey, run framing.Run, serve func(*framing.Stream), claims ...framing.Claim) *hopDevice {
	t := n.t
	t.Helper()
	tc, err := tls.Dial("tcp", n.public, &tls.Config{RootCAs: n.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	cs := tc.ConnectionState()
	h := framing.Hello{Run: run, Agent: "test", Capabilities: framing.CapabilityLanes | framing.CapabilityPorts}
	if err := h.Sign(key, &cs, zone); err != nil {
		t.Fatal(err)
	}
	d := &hopDevice{key: key}
	if d.Link, _, err = framing.Client(t.Context(), tc, h, framing.Handler{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, c := range claims {
		if c.Name == "" {
			c.Name = d.label()
		}
		if _, err := d.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if serve != nil {
		go func() {
			for {
				s, err := d.Accept()
				if err != nil {
					return
				}
				go serve(s)
			}
		}()
	}
	return d
}

// echo answers a visitor with a name and a colon, and then with what it says.
func echo(name string) func(*framing.Stream) {
	return func(s *framing.Stream) {
		s.Write([]byte(name + ":"))
		if _, err := io.Copy(s, s); err != nil {
			s.Reset()
		}
		s.Close()
	}
}

// visit connects a visitor to a node.
func (n *hopNode) visit() *net.TCPConn {
	n.t.Helper()
	return dialTCP(n.t, n.public)
}

func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// dialFrom is dialTCP from another address of loopback.
func dialFrom(t *testing.T, from, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Skipf("this system's loopback has no address %s: %v", from, err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// says sends a hello for name and what is said after it, ends when an answer comes, and
// returns all of that.
func (n *hopNode) says(name, more string) (string, error) {
	n.t.Helper()
	c := n.visit()
	defer c.Close()
	return converse(c, append(clientHello(n.t, name), more...))
}

func converse(c *net.TCPConn, all []byte) (string, error) {
	if _, err := c.Write(all); err != nil {
		return "", err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return "", err
	}
	c.CloseWrite()
	b, err := io.ReadAll(c)
	return string(first) + string(b), err
}

// clientHello is a ClientHello that asks for a name.
func clientHello(t *testing.T, name string, protocols ...string) []byte {
	t.Helper()
	c := &captured{}
	tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols}).Handshake()
	return c.first
}

// captured is the end of a handshake whose first flight is wanted.
type captured struct {
	net.Conn
	first []byte
}

func (c *captured) Write(p []byte) (int, error) {
	c.first = append(c.first, p...)
	return len(p), nil
}

func (c *captured) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *captured) SetDeadline(time.Time) error { return nil }
func (c *captured) Close() error                { return nil }

// expect checks what comes first on a connection.
func expect(t *testing.T, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); string(b[:n]) != want {
		t.Fatalf("got %q, %v; want %q", b[:n], err, want)
	}
}

// shows waits until a node's metrics have lines.
func (n *hopNode) shows(t *testing.T, lines ...string) {
	t.Helper()
	ln := listen(t)
	go n.srv.ServeAdmin(ln, nil)
	defer http.DefaultClient.CloseIdleConnections()
	missing := func() []string {
		resp, err := http.Get("http://" + ln.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(string(b), "\n"+line+"\n") })
	}
	left := missing()
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); left = missing() {
		runtime.Gosched()
	}
	for _, line := range left {
		t.Errorf("at %s there is no %s", n.name, line)
	}
}

// eventually waits for what is about to be.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// wasReset reports whether err is a reset and no end.
func wasReset(err error) bool {
	return err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.DeadlineExceeded)
}

// count is how many connections are spare.
func (a *hopPools) count() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.nodes {
		n += len(p.spare)
	}
	return n
}

// count is how many connections wait for a HOP.
func (s *hopServer) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.waiting {
		n += len(of)
	}
	return n
}

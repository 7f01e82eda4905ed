package relay_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

const zone = "relay.test"

// patience bounds what waits for the network in a test that fails.
const patience = time.Minute

// A rig is a relay with the way to it. Visitors and remotes are of the tests.
type rig struct {
	t      *testing.T
	ca     *testca.CA
	srv    *relay.Server
	dir    string
	dial   func() conn       // to the public port
	log    *lockedBuffer     // what the relay logs
	served chan error        // what Serve returned
	panics int64             // that the test causes
	mem    *memconn.Listener // of a rig in a bubble
	public string            // the address of a rig on loopback
}

// conn is a visitor's connection.
type conn interface {
	net.Conn
	CloseWrite() error
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newServer returns a relay that is not serving yet. set may change it.
func newServer(t *testing.T, set func(*relay.Server)) *rig {
	t.Helper()
	r := &rig{t: t, ca: testca.New(t), dir: t.TempDir(), log: &lockedBuffer{}, served: make(chan error, 1)}
	r.srv = &relay.Server{
		Domain:  zone,
		TLS:     &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(zone)}, NextProtos: []string{"h2", "http/1.1"}},
		Names:   &names.Names{Grants: openGrants(t, r.dir)},
		Version: "test",
		Logger:  slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	r.srv.SetLimits(limits.Config{Exempt: everybody}) // all of a test comes from one address
	if set != nil {
		set(r.srv)
	}
	return r
}

var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

func openGrants(t *testing.T, dir string) *names.Grants {
	t.Helper()
	g, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// newRig returns a relay that serves on loopback.
func newRig(t *testing.T, set func(*relay.Server)) *rig {
	t.Helper()
	r := newServer(t, set)
	r.listen()
	return r
}

// listen begins to serve on loopback.
func (r *rig) listen() {
	t := r.t
	r.srv.RestAtOnce()
	ln := listenTCP(t)
	r.public = ln.Addr().String()
	r.dial = func() conn {
		c, err := net.Dial("tcp", r.public)
		if err != nil {
			t.Error(err)
			panic(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
	r.serve(ln)
}

// memRig returns a relay that serves in memory, for a bubble.
func memRig(t *testing.T, set func(*relay.Server)) *rig {
	t.Helper()
	return newServer(t, set).inMemory()
}

// inMemory begins to serve in memory.
func (r *rig) inMemory() *rig {
	t := r.t
	r.mem = memconn.Listen(nil)
	r.dial = func() conn {
		c, err := r.mem.Dial(context.Background())
		if err != nil {
			t.Error(err)
			panic(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	r.serve(r.mem)
	return r
}

func (r *rig) serve(ln net.Listener) {
	go func() { r.served <- r.srv.Serve(ln) }()
	r.t.Cleanup(r.close)
}

// close ends the relay and checks that Serve says so.
func (r *rig) close() {
	r.t.Helper()
	r.srv.Close()
	if n := r.srv.Panics(); n != r.panics {
		r.t.Errorf("%d panics were caught, %d were to be:\n%s", n, r.panics, r.log)
	}
	if err := <-r.served; err != relay.ErrServerClosed {
		r.t.Errorf("Serve: %v", err)
	}
	r.served <- relay.ErrServerClosed // for the next call
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// An identity is a device's key and its current run.
type identity struct {
	key ed25519.PrivateKey
	run framing.Run
}

func newIdentity(t testing.TB) identity {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return identity{key, framing.Run{Number: 1, ID: [16]byte{1}}}
}

// at is the same device in another run.
func (id identity) at(number uint64, run byte) identity {
	id.run = framing.Run{Number: number, ID: [16]byte{run}}
	return id
}

// label is the name made from the device's key.
func (id identity) label() string {
	return keyname.Label(id.key.Public().(ed25519.PublicKey), "") + "." + zone
}

// A device is a remote made of package framing.
type device struct {
	*framing.Link
	lost    chan *framing.Denial
	goAway  chan framing.GoAway
	welcome framing.Welcome
}

// Claim claims a name.
func (d *device) Claim(ctx context.Context, c framing.Claim) error {
	_, err := d.Link.Claim(ctx, c)
	return err
}

// link connects a device. What it does with its streams is up to the caller.
func (r *rig) link(id identity) (*device, error) {
	r.t.Helper()
	d := &device{lost: make(chan *framing.Denial, 8), goAway: make(chan framing.GoAway, 8)}
	return d, r.linkWith(d, id, framing.Handler{
		Lost:   func(l *framing.Denial) { d.lost <- l },
		GoAway: func(g framing.GoAway) { d.goAway <- g },
	})
}

// linkWith connects d with a handler.
func (r *rig) linkWith(d *device, id identity, handler framing.Handler) error {
	r.t.Helper()
	tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.Protocol}})
	if err := tc.Handshake(); err != nil {
		return err
	}
	cs := tc.ConnectionState()
	h := framing.Hello{Run: id.run, Agent: "test", Capabilities: framing.CapabilityLanes | framing.CapabilityPorts}
	if err := h.Sign(id.key, &cs, zone); err != nil {
		return err
	}
	var err error
	d.Link, d.welcome, err = framing.Client(r.t.Context(), tc, h, handler)
	if err == nil {
		r.t.Cleanup(func() { d.Close() })
	}
	return err
}

// device connects a device that holds the names.
func (r *rig) device(id identity, names ...string) *device {
	r.t.Helper()
	d, err := r.link(id)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if err := d.Claim(r.t.Context(), framing.Claim{Name: name}); err != nil {
			r.t.Fatal(err)
		}
	}
	return d
}

// serve serves each visitor in a goroutine of its own, until the link is over.
func (d *device) serve(visitor func(*framing.Stream)) *device {
	go serveStreams(d.Link, visitor)
	return d
}

func serveStreams(link *framing.Link, visitor func(*framing.Stream)) {
	for {
		s, err := link.Accept()
		if err != nil {
			return
		}
		go visitor(s)
	}
}

// echo sends back whatever visitors say, after the device's name, until the
// link is over.
func (d *device) echo(name string) *device {
	return d.serve(func(s *framing.Stream) {
		s.Write([]byte(name + ":"))
		if _, err := io.Copy(s, s); err != nil {
			s.Reset()
		}
		s.Close()
	})
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

func (c *captured) Read([]byte) (int, error) { return 0, io.EOF }

// helloFor is a ClientHello that asks for name as it stands, whatever it is.
func helloFor(t testing.TB, name string) []byte {
	t.Helper()
	c := &captured{}
	stand := strings.Repeat("x", len(name))
	tls.Client(c, &tls.Config{ServerName: stand, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}).Handshake()
	if name == "" {
		return c.first
	}
	if bytes.Count(c.first, []byte(stand)) != 1 {
		t.Fatalf("no place for %q in the hello", name)
	}
	return bytes.Replace(c.first, []byte(stand), []byte(name), 1)
}

// visit sends a hello for name and what is said after it, ends its side when the
// first byte of the answer is there, and returns what comes back. A visitor that
// ends its side before has left.
func (r *rig) visit(name, say string) (answer string, err error) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	if _, err := c.Write(append(helloFor(r.t, name), say...)); err != nil {
		return "", err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err == io.EOF {
		return "", nil
	} else if err != nil {
		return "", err
	}
	c.CloseWrite()
	b, err := io.ReadAll(c)
	return string(first) + string(b), err
}

// reaches checks that a visitor of name gets to the device of that echo.
func (r *rig) reaches(name, device string) {
	r.t.Helper()
	answer, err := r.visit(name, "more")
	if err != nil || !strings.HasPrefix(answer, device+":") || !strings.HasSuffix(answer, "more") {
		r.t.Errorf("a visitor of %s got %.40q, %v; want an answer of %s", name, answer, err, device)
	}
}

// Alerts, as records (RFC 8446, section 6).
const (
	unrecognizedName = "\x15\x03\x03\x00\x02\x02\x70"
	internalError    = "\x15\x03\x03\x00\x02\x02\x50"
)

// refused checks that a visitor of name gets an alert, and then an end.
func (r *rig) refused(name, alert string) {
	r.t.Helper()
	if answer, err := r.visit(name, ""); answer != alert || err != nil {
		r.t.Errorf("a visitor of %q got %q, %v; want the alert %q", name, answer, err, alert)
	}
}

// denied checks the answer to a claim.
func denied(t testing.TB, err error, code framing.DenialCode) {
	t.Helper()
	var d *framing.Denial
	if !errors.As(err, &d) || d.Code != code {
		t.Errorf("claim: %v, want code %d", err, code)
	}
}

// waitForLog waits until the relay has logged something.
func (r *rig) waitForLog(text string) {
	r.t.Helper()
	for start := time.Now(); !strings.Contains(r.log.String(), text); runtime.Gosched() {
		if time.Since(start) > patience {
			r.t.Fatalf("%q is not in the log:\n%s", text, r.log)
		}
	}
}

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/internal/testnet"
)

const (
	outZone = "relay.test"
	outName = "xyz.relay.test"
	page    = "hello from the device"
)

// outside is a relay and a local site, with what a remote needs to know.
type outside struct {
	t      *testing.T
	dir    string
	ca     *testca.CA
	public string // the relay's address
	site   string
}

func newOutside(t *testing.T) *outside {
	o := &outside{t: t, dir: t.TempDir(), ca: testca.New(t)}
	o.write("root.pem", o.ca.PEM())
	_, o.public = world.StartRelayProgram(t, o.ca, t.TempDir(), "127.0.0.1:0", "")
	site, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, page) })}
	done := make(chan struct{})
	go func() { srv.Serve(site); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	o.site = site.Addr().String()
	return o
}

func (o *outside) write(name string, b []byte) (path string) {
	o.t.Helper()
	path = filepath.Join(o.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// remote starts a remote with a certificate brought along. It trusts the relay's
// CA and serves the site, unless args say otherwise.
func (o *outside) remote(env []string, args ...string) *world.Process {
	o.t.Helper()
	cert, key := o.ca.Files(o.t.TempDir(), outName)
	if !slices.Contains(args, "--relay-root") {
		args = append(args, "--relay-root", filepath.Join(o.dir, "root.pem"))
	}
	if !slices.Contains(args, "--local") {
		args = append(args, "--local", o.site)
	}
	return o.start("remote", env, append([]string{"--domain", outName, "--relay", outZone, "--cert", cert, "--key", key,
		"--state-dir", filepath.Join(o.dir, "device"), "--log-level", "debug"}, args...)...)
}

// visit fetches the page from the relay's public address, its certificate
// checked against roots.
func (o *outside) visit(config *tls.Config) {
	o.t.Helper()
	tr := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, o.public)
	}}
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+outName+"/", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != page {
		o.t.Errorf("got %q, %v", b, err)
	}
}

// start runs a program with nothing in its environment but env. It ends with
// the test, and must not have written any of the passwords here.
func (o *outside) start(program string, env []string, args ...string) *world.Process {
	o.t.Helper()
	var p *world.Process
	o.t.Cleanup(func() { // after the program's end
		for _, secret := range []string{outPassword, base64.StdEncoding.EncodeToString([]byte("me:" + outPassword)), wrongPassword} {
			if p.All.Count(secret) > 0 {
				o.t.Errorf("%s has written a password", program)
			}
		}
	})
	p = world.Start(o.t, append([]string{"HOME=" + o.dir}, env...), program, args...)
	return p
}

// up waits until the name answers.
func up(p *world.Process) *world.Process {
	p.Await("https://" + outName)
	return p
}

// A middlebox stands in front of the relay and meddles with what it sees.
type middlebox struct {
	addr string
	mu   sync.Mutex
	seen []string // what each connection was for
}

// newMiddlebox serves each connection with f, which notes what it is for.
func newMiddlebox(t *testing.T, f func(m *middlebox, c *net.TCPConn)) *middlebox {
	t.Helper()
	m := &middlebox{}
	m.addr = testnet.Serve(t, func(c net.Conn) { f(m, c.(*net.TCPConn)) }).String()
	return m
}

func (m *middlebox) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, what)
}

// saw returns what was noted, and forgets it.
func (m *middlebox) saw() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen
	m.seen = nil
	return seen
}

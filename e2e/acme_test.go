package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// startPebble starts a CA that ends with the test.
func startPebble(t *testing.T, o pebble.Options) *pebble.Server {
	t.Helper()
	p, err := pebble.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// device is a Keeper with listeners for what a relay would bring it.
type device struct {
	*acme.Keeper
	events chan acme.Event
	tls    net.Listener

	mu         sync.Mutex
	validating func() // called at each validation, before it is answered
}

// newDevice starts a device on dir and points the CA's validations at it.
func newDevice(t *testing.T, p *pebble.Server, dir string, change func(*acme.Config)) *device {
	t.Helper()
	d := &device{events: make(chan acme.Event, 1000)}
	cfg := acme.Config{
		Dir:      dir,
		CA:       p.DirectoryURL(),
		Roots:    p.APIPool(),
		NoHTTP01: true,
		Notify:   func(ev acme.Event) { d.events <- ev },
	}
	if change != nil {
		change(&cfg)
	}
	k, err := acme.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Keeper = k

	var wg sync.WaitGroup
	if d.tls, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { d.serve(&wg) })
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: k.HTTPChallenge(nil)}
	wg.Go(func() { web.Serve(plain) })
	p.SetTLSTarget(d.tls.Addr().String())
	p.SetHTTPTarget(plain.Addr().String())
	t.Cleanup(func() {
		k.Close()
		d.tls.Close()
		web.Close()
		wg.Wait()
	})
	return d
}

func (d *device) serve(wg *sync.WaitGroup) {
	cfg := d.TLSConfig()
	for {
		c, err := d.tls.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			d.mu.Lock()
			f := d.validating
			d.mu.Unlock()
			if f != nil {
				f()
			}
			tc := tls.Server(c, cfg)
			tc.SetDeadline(time.Now().Add(world.Patience))
			if tc.Handshake() == nil && tc.ConnectionState().NegotiatedProtocol != acme.ALPN {
				tc.CloseWrite()
			}
		})
	}
}

// manage makes d keep a certificate for name.
func (d *device) manage(t *testing.T, name string) {
	t.Helper()
	if err := d.Manage(name); err != nil {
		t.Fatal(err)
	}
}

// wait blocks until name has a valid certificate.
func (d *device) wait(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), world.Patience)
	defer cancel()
	if err := d.Wait(ctx, name); err != nil {
		t.Fatalf("wait for %s: %v", name, err)
	}
}

// event returns the next event of that kind.
func (d *device) event(t *testing.T, kind acme.EventKind) acme.Event {
	t.Helper()
	timeout := time.After(world.Patience)
	for {
		select {
		case ev := <-d.events:
			if ev.Kind == kind {
				return ev
			}
			t.Logf("%v %s %s %v", ev.Kind, ev.Name, ev.Why, ev.Err)
		case <-timeout:
			t.Fatalf("no event %v", kind)
		}
	}
}

// visit does a handshake as a visitor of name would and returns the leaf.
func (d *device) visit(p *pebble.Server, name string, version uint16) (*x509.Certificate, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: world.Patience}, "tcp", d.tls.Addr().String(), &tls.Config{
		ServerName: name, RootCAs: p.IssuerPool(), NextProtos: []string{"h2"}, MinVersion: version, MaxVersion: version})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		return nil, fmt.Errorf("negotiated %q", got)
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

const devName = "dev1.relay.test"

func TestCertificateByTLSALPN(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := filepath.Join(t.TempDir(), "acme")
	d := newDevice(t, p, dir, nil)
	start := time.Now()
	d.manage(t, devName)
	d.wait(t, devName)
	t.Logf("obtained after %v", time.Since(start).Round(time.Millisecond))
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if _, err := d.visit(p, devName, v); err != nil {
			t.Errorf("visit with %s: %v", tls.VersionName(v), err)
		}
	}
	if n := len(p.Orders()); n != 1 {
		t.Errorf("%d orders", n)
	}
	if _, err := d.visit(p, "other.relay.test", 0); err == nil {
		t.Error("a visitor of another name was served")
	}
	checkModes(t, dir)
}

// checkModes checks that everything below dir is the owner's alone.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		files++
		return nil
	})
	if err != nil || files < 6 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestCertificateByHTTP01(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	d := newDevice(t, p, t.TempDir(), func(c *acme.Config) { c.NoTLSALPN01, c.NoHTTP01 = true, false })
	d.manage(t, devName)
	d.wait(t, devName)
	if _, err := d.visit(p, devName, tls.VersionTLS13); err != nil {
		t.Error(err)
	}
}

// Where one kind of validation does not get through, the other is tried at once.
func TestOtherValidationAtOnce(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	d := newDevice(t, p, t.TempDir(), func(c *acme.Config) { c.NoHTTP01 = false })
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	p.SetTLSTarget(nobody.Addr().String())
	d.manage(t, devName)
	d.wait(t, devName)
	if orders := p.Orders(); len(orders) != 2 {
		t.Errorf("%d orders", len(orders))
	}
	for _, kind := range []acme.EventKind{acme.Ordering, acme.Ordering, acme.Obtained} {
		if ev := <-d.events; ev.Kind != kind {
			t.Errorf("%v before %v", ev.Kind, kind)
		}
	}
}

func TestRestartsOrderNothing(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := t.TempDir()
	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	d.wait(t, devName)
	d.Close()

	p.SetDown(true) // what is valid is served without the CA
	for range 20 {
		d := newDevice(t, p, dir, nil)
		d.manage(t, devName)
		if _, err := d.Certificate(devName); err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
	p.SetDown(false)
	d = newDevice(t, p, dir, nil)
	d.manage(t, devName)
	if _, err := d.visit(p, devName, tls.VersionTLS13); err != nil {
		t.Error(err)
	}
	if n, a := len(p.Orders()), p.Accounts(); n != 1 || a != 1 {
		t.Errorf("%d orders, %d accounts", n, a)
	}
}

func TestUnreachableCALeavesWhatIsValidServed(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	d := newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	d.wait(t, devName)
	p.SetDown(true)
	d.manage(t, "dev2.relay.test")
	ev := d.event(t, acme.Failed)
	if ev.Name != "dev2.relay.test" || ev.Err == nil || ev.Why == "" || time.Until(ev.Next) > 5*time.Second {
		t.Errorf("%+v", ev)
	}
	if _, err := d.visit(p, devName, tls.VersionTLS13); err != nil {
		t.Errorf("the valid certificate is not served: %v", err)
	}
	p.SetDown(false)
	d.Kick()
	d.wait(t, "dev2.relay.test")
}

func TestNothingOrderedUntilReady(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	gate := make(chan struct{})
	d := newDevice(t, p, t.TempDir(), func(c *acme.Config) {
		c.Ready = func(ctx context.Context, name string) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	d.manage(t, devName)
	d.event(t, acme.Waiting)
	d.Kick()
	if len(p.Orders()) != 0 || p.Accounts() != 0 {
		t.Error("the CA was asked before validation could arrive")
	}
	close(gate)
	d.wait(t, devName)
}

func TestRateLimitIsHonoured(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	p.SetRateLimit(true, time.Hour)
	d := newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	ev := d.event(t, acme.Failed)
	var problem *acme.Problem
	if !errors.As(ev.Err, &problem) || problem.Type != "rateLimited" || problem.RetryAfter != time.Hour {
		t.Errorf("error %v", ev.Err)
	}
	if wait := time.Until(ev.Next); wait < 59*time.Minute {
		t.Errorf("comes back in %v", wait)
	}
	p.SetRateLimit(false, 0)
	d.Kick() // a session that comes back is no reason to ask sooner
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
	for _, o := range p.Orders()[1:] {
		if o.Names[0] == devName {
			t.Error("ordered again before the CA's time")
		}
	}
}

func TestRejectedNonceIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	p.SetNonceRejection(40)
	d := newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	d.wait(t, devName)
}

func TestExternalAccountIsBoundOrItsLackIsTold(t *testing.T) {
	t.Parallel()
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	p := startPebble(t, pebble.Options{EAB: map[string]string{"kid-1": mac}})
	d := newDevice(t, p, t.TempDir(), func(c *acme.Config) { c.EABKeyID, c.EABMACKey = "kid-1", mac })
	d.manage(t, devName)
	d.wait(t, devName)
	d = newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	if ev := d.event(t, acme.Failed); !strings.Contains(ev.Err.Error(), "externalAccountRequired") {
		t.Error(ev.Err)
	}
}

// pool returns a pool of the certificates in pem.
func pool(pem []byte) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(pem)
	return p
}

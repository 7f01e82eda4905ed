package remote_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/remote"
)

// ports is an option: the relay gives this TCP port to whoever asks for one.
func ports(port uint16) func(*fakeRelay) { return func(r *fakeRelay) { r.port = port } }

const sshName = "tcp:22@relay.test"

// portConfig is that of a listener for port 22.
func (r *fakeRelay) portConfig() remote.Config {
	cfg := r.config()
	cfg.Domain, cfg.TLS, cfg.Port, cfg.Relays = "", nil, 22, []string{zone}
	return cfg
}

// A visitor of the port arrives as it is, and what the listener calls itself is what
// visitors connect to, once the relay has said so. No certificate is wanted.
func TestAPortsVisitorArrives(t *testing.T) {
	r := newRelay(t, ports(20022))
	ln := r.listen(r.portConfig())
	link := r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	if ln.URL() != "tcp://relay.test:20022" || ln.Domain() != "relay.test:20022" || ln.Addr().String() != "relay.test:20022" {
		t.Errorf("it is %s, %s at %v", ln.URL(), ln.Domain(), ln.Addr())
	}
	if _, claims := r.visited(); !slices.Contains(claims, claim{zone, sshName, ""}) {
		t.Errorf("claimed: %q", claims)
	}
	visitor := link.open(sshName, framing.KindTCP)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != visitorAddr.String() || ln.Visitors() != 1 {
		t.Errorf("it comes from %v, of %d", c.RemoteAddr(), ln.Visitors())
	}
	io.WriteString(c, "SSH-2.0-test")
	b := make([]byte, 12)
	if _, err := io.ReadFull(visitor, b); string(b) != "SSH-2.0-test" {
		t.Errorf("got %q, %v", b, err)
	}
}

// Streams of another kind, of another name, and of visitors whom the rules refuse are
// refused: the relay cannot bring a port's visitor to a name's service, nor the reverse.
func TestAPortTakesItsOwnVisitorsAlone(t *testing.T) {
	r := newRelay(t, ports(20022))
	cfg := r.portConfig()
	cfg.Deny = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	r.listen(cfg)
	link := r.next()
	for _, c := range []struct {
		name string
		kind framing.Kind
	}{{sshName, framing.KindTCP}, {sshName, framing.KindTLS}, {sshName, framing.KindHTTP01}, {"tcp:23@relay.test", framing.KindTCP}} {
		if _, err := link.open(c.name, c.kind).Read(make([]byte, 1)); err == nil {
			t.Errorf("%s of kind %d was taken", c.name, c.kind)
		}
	}
}

// A name's service gets no raw bytes.
func TestANameTakesNoVisitorOfAPort(t *testing.T) {
	r := newRelay(t)
	r.start(nil)
	if _, err := r.next().open(domain, framing.KindTCP).Read(make([]byte, 1)); err == nil {
		t.Error("a name's service has got raw bytes")
	}
}

// A relay without ports refuses for good, and says so, also one that is too old.
func TestARelayWithoutPorts(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.portConfig())
	err := wait(t, ln)
	var d *framing.Denial
	if !errors.As(err, &d) || d.Code != framing.DeniedInvalid || !strings.Contains(d.Text, "TCP ports") {
		t.Errorf("got %v", err)
	}
	if _, got := r.visited(); len(got) != 0 {
		t.Errorf("the relay was asked for %q", got)
	}
}

// Where no port is left the remote asks again, and says what can be done.
func TestPortsThatHaveRunOutAreAskedForAgain(t *testing.T) {
	r := newRelay(t, ports(20022))
	r.set(nil, func(string, string) error {
		return &framing.Denial{Code: framing.DeniedLimit, Text: "this relay has given out all its TCP ports", Hint: "ask the operator"}
	})
	ln := r.listen(r.portConfig())
	err := ln.Wait(expired())
	for start := time.Now(); len(hint.All(err)) == 0 && time.Since(start) < patience; runtime.Gosched() { // until it has been denied
		err = ln.Wait(expired())
	}
	if lines := strings.Join(hint.All(err), "\n"); !strings.Contains(lines, "ask the operator") || !strings.Contains(lines, "tcp_ports") {
		t.Errorf("hints: %q", lines)
	}
}

// The relay of a port is remembered, for the port and, where none was, from a name. A
// port does not stand for a name that is not given.
func TestThePortsRelayIsRemembered(t *testing.T) {
	r := newRelay(t, ports(20022))
	cfg := r.portConfig()
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	end(ln)
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "names", "tcp-22@relay.test.json")); err != nil {
		t.Error(err)
	}
	for _, port := range []uint16{22, 5432} {
		again := cfg
		again.Relays, again.Port = nil, port
		ln = r.listen(again)
		if err := wait(t, ln); err != nil {
			t.Errorf("port %d: %v", port, err)
		}
		end(ln)
	}
	info, err := remote.ShowIdentity(cfg.StateDir)
	if err != nil || !slices.ContainsFunc(info.Names, func(n remote.ServedName) bool { return n.Name == "relay.test:20022" }) {
		t.Errorf("the identity has %+v, %v", info.Names, err)
	}
	if name, err := remote.OnlyName(cfg.StateDir); name != "" || err != nil {
		t.Errorf("the only name is %q, %v", name, err)
	}
	nobody := r.portConfig()
	nobody.Relays = nil
	if _, err := remote.Listen(nobody); !errors.Is(err, remote.ErrNoRelay) {
		t.Errorf("without a relay: %v", err)
	}
	nobody.Relays = []string{zone, "other.test"}
	if _, err := remote.Listen(nobody); err == nil {
		t.Error("a port was to be served by two relays")
	}
}

// A port is given back by what visitors call it, and forgotten.
func TestAPortIsReleased(t *testing.T) {
	r := newRelay(t, ports(20022))
	cfg := r.portConfig()
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	end(ln)
	cfg.Domain, cfg.Port, cfg.Relays = "relay.test:20022", 0, nil
	if relays, err := remote.Release(t.Context(), cfg); err != nil || !slices.Equal(relays, []string{zone}) {
		t.Errorf("released at %q, %v", relays, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.released, []string{"relay.test:20022"}) {
		t.Errorf("released: %q", r.released)
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "names", "tcp-22@relay.test.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is not forgotten: %v", err)
	}
}

// Two runs of a device do not serve the same port here, and two numbers are two ports.
func TestAPortIsServedOnce(t *testing.T) {
	r := newRelay(t, ports(20022))
	cfg := r.portConfig()
	r.listen(cfg)
	var inUse *remote.InUseError
	if _, err := remote.Listen(cfg); !errors.As(err, &inUse) {
		t.Errorf("a second one: %v", err)
	}
	cfg.Port = 23
	r.listen(cfg)
}

//go:build linux

package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"keystay/e2e/internal/pebble"
	"keystay/internal/handover"
)

// The relay's own certificate from ACME is served all the time, while its
// maintenance goes from one process to the next or comes back; nothing is
// ordered again.
func TestTakeoverKeepsCertificate(t *testing.T) {
	t.Parallel()
	ca := startPebble(t, pebble.Options{})
	l := emptyLineage(t)
	root, err := ca.APIRootFile(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	l.write("relay.yaml", fmt.Sprintf(`domain: %s
listen: ["127.0.0.1:0"]
http_listen: []
admin: {listen: ""}
state_dir: state
acme: {ca: %q, ca_root: %q}
`, takeoverRelay, ca.DirectoryURL(), root))
	l.listenRelay()
	ca.SetTLSTarget(l.public) // it is ready once the CA has reached it there
	l.notified("READY=1")
	served := func() {
		t.Helper()
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: takeoverPatience}, Config: &tls.Config{ServerName: takeoverRelay, RootCAs: ca.IssuerPool()}}
		c, err := d.Dial("tcp", l.public)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	loaded := func(times int) {
		t.Helper()
		for start := time.Now(); l.count("certificate loaded") != times; <-time.After(10 * time.Millisecond) {
			if time.Since(start) > takeoverPatience {
				t.Fatalf("loaded %d times, not %d", l.count("certificate loaded"), times)
			}
		}
	}
	served()
	old := l.main
	l.takeOver()
	served()
	l.ends(old)
	l.retired = nil
	loaded(1) // visitors may be served before it is told

	// Maintenance is paused while another process has everything, and resumed.
	p, err := handover.Dial(l.path("state/relay.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := take(p); err != nil {
		t.Error(err)
	}
	p.Close()
	served()
	loaded(2) // maintenance is resumed
	served()
	if n := len(ca.Orders()); n != 1 {
		t.Errorf("%d orders", n)
	}
	l.end()
}

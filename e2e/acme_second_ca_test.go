package e2e

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// twoCAs starts two CAs, the second without a target for its validations.
func twoCAs(t *testing.T, first pebble.Options) (a, b *pebble.Server, change func(*acme.Config)) {
	t.Helper()
	a, b = startPebble(t, first), startPebble(t, pebble.Options{})
	return a, b, func(c *acme.Config) {
		c.OtherCAs = []string{b.DirectoryURL()}
		c.Roots = pool(append(a.APIRoots(), b.APIRoots()...))
	}
}

// also points the validations of another CA at d.
func (d *device) also(p *pebble.Server) { p.SetTLSTarget(d.tls.Addr().String()) }

// issuedBy reports whether what visitors of d get for name is from p.
func (d *device) issuedBy(p *pebble.Server, name string) bool {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: world.Patience}, "tcp", d.tls.Addr().String(),
		&tls.Config{ServerName: name, RootCAs: p.IssuerPool()})
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// The next CA is asked at once when the first cannot or will not.
func TestNextCAWhereTheFirstCannotOrWillNot(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]func(*pebble.Server){
		"down":    func(p *pebble.Server) { p.SetDown(true) },
		"limited": func(p *pebble.Server) { p.SetRateLimit(true, time.Hour) },
		"refuses": func(p *pebble.Server) {
			p.Refuse(&pebble.Refusal{Status: 400, Type: "rejectedIdentifier", Detail: "not here"})
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a, b, change := twoCAs(t, pebble.Options{})
			fault(a)
			dir := t.TempDir()
			d := newDevice(t, a, dir, change)
			d.also(b)
			d.manage(t, devName)
			d.wait(t, devName)
			if !d.issuedBy(b, devName) {
				t.Error("the second CA did not issue")
			}
			d.Close()

			// What it issued is used as long as it is good.
			a.SetDown(false)
			a.Refuse(nil)
			before := len(a.Orders())
			d = newDevice(t, a, dir, change)
			d.manage(t, devName)
			if !d.issuedBy(b, devName) || len(a.Orders()) != before || len(b.Orders()) != 1 {
				t.Errorf("not taken from the folder: %d orders at the first CA, %d at the second", len(a.Orders()), len(b.Orders()))
			}
		})
	}
}

// A renewal begins with the first CA again, and does not tell it that it
// replaces what another one has issued.
func TestRenewalPrefersTheFirstCA(t *testing.T) {
	t.Parallel()
	a, b, change := twoCAs(t, pebble.Options{})
	a.SetDown(true)
	dir := t.TempDir()
	d := newDevice(t, a, dir, change)
	d.also(b)
	d.manage(t, devName)
	d.wait(t, devName)
	d.Close()
	rewrite(t, dir, time.Now().Add(-89*24*time.Hour), time.Now().Add(24*time.Hour)) // due

	a.SetDown(false)
	d = newDevice(t, a, dir, change)
	d.also(b)
	d.manage(t, devName)
	d.event(t, acme.Obtained)
	if !d.issuedBy(a, devName) {
		t.Error("the first CA did not issue")
	}
	if o := a.Orders(); len(o) != 1 || o[0].Replaces != "" || len(b.Orders()) != 1 {
		t.Errorf("orders %+v, %+v", o, b.Orders())
	}
	d.Close()
	d = newDevice(t, a, dir, change) // two certificates are in the folder now: the newer one is in use
	d.manage(t, devName)
	if !d.issuedBy(a, devName) {
		t.Error("after a restart the older certificate is in use")
	}
}

// An external account goes to the CA that asks for one, and each has its own
// registration, with the same key.
func TestExternalAccountGoesToTheCAThatWantsIt(t *testing.T) {
	t.Parallel()
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	a, b, change := twoCAs(t, pebble.Options{EAB: map[string]string{"kid-1": mac}})
	dir := t.TempDir()
	both := func(c *acme.Config) {
		change(c)
		c.EABKeyID, c.EABMACKey = "kid-1", mac
	}
	d := newDevice(t, a, dir, both)
	d.manage(t, devName)
	d.wait(t, devName)
	a.SetDown(true)
	d.also(b)
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
	if !d.issuedBy(b, "dev2.relay.test") {
		t.Error("the second CA did not issue")
	}
	if found, err := filepath.Glob(filepath.Join(dir, "accounts", "*.json")); len(found) != 2 || err != nil {
		t.Errorf("registrations %q, %v", found, err)
	}
}

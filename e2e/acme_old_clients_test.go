package e2e

import (
	"crypto/tls"
	"testing"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
)

// suite12 does a handshake with d as a visitor whose TLS 1.2 knows that suite
// alone, and returns its error.
func (d *device) suite12(p *pebble.Server, suite uint16) error {
	c, err := tls.Dial("tcp", d.tls.Addr().String(), &tls.Config{
		ServerName: devName, RootCAs: p.IssuerPool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
	if err == nil {
		err = c.Close()
	}
	return err
}

// A certificate for an RSA key serves visitors who know no other, in the place
// of the other kind and without a time between them.
func TestRSAServesVisitorsWhoKnowNoOther(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := t.TempDir()
	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	d.wait(t, devName)
	if err := d.suite12(p, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256); err == nil {
		t.Error("RSA without being asked for")
	}
	d.Close()

	p.SetDown(true)
	rsa := func(c *acme.Config) { c.RSA = true }
	d = newDevice(t, p, dir, rsa)
	d.manage(t, devName)
	d.event(t, acme.Failed)
	if err := d.suite12(p, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256); err != nil {
		t.Errorf("until there is another, the old certificate is not served: %v", err)
	}
	p.SetDown(false)
	d.Kick()
	if ev := d.event(t, acme.Obtained); ev.Name != devName {
		t.Errorf("obtained %q", ev.Name)
	}
	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256} {
		if err := d.suite12(p, suite); err != nil {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if _, err := d.visit(p, devName, v); err != nil {
			t.Errorf("%s: %v", tls.VersionName(v), err)
		}
	}
	d.Close()
	orders := len(p.Orders())
	d = newDevice(t, p, dir, rsa)
	d.manage(t, devName)
	d.event(t, acme.Loaded)
	if n := len(p.Orders()); n != orders {
		t.Errorf("%d more orders at a restart", n-orders)
	}
}

// TLS 1.2 is had with forward secrecy and authenticated encryption alone.
func TestTLS12HasNoCBC(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	for _, isRSA := range []bool{false, true} {
		d := newDevice(t, p, t.TempDir(), func(c *acme.Config) { c.RSA = isRSA })
		d.manage(t, devName)
		d.wait(t, devName)
		for _, suite := range []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		} {
			if err := d.suite12(p, suite); err == nil {
				t.Errorf("RSA %v: %s is had", isRSA, tls.CipherSuiteName(suite))
			}
		}
	}
}

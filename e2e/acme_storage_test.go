package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
)

// only returns the one file below dir whose name ends in suffix.
func only(t *testing.T, dir, suffix string) string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("files *%s: %v, %v", suffix, found, err)
	}
	return found[0]
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// certified returns a folder with one certificate of p's in it.
func certified(t *testing.T, p *pebble.Server) (dir string) {
	t.Helper()
	dir = t.TempDir()
	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	d.wait(t, devName)
	d.Close()
	return dir
}

// rewrite replaces the certificate in dir by one for the same key and name
// with other dates, signed by that key.
func rewrite(t *testing.T, dir string, notBefore, notAfter time.Time) {
	t.Helper()
	certFile := only(t, dir, ".crt")
	pair, err := tls.LoadX509KeyPair(certFile, strings.TrimSuffix(certFile, ".crt")+".key")
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		DNSNames:     pair.Leaf.DNSNames,
		NotBefore:    notBefore,
		NotAfter:     notAfter,
	}
	parent := &x509.Certificate{SubjectKeyId: pair.Leaf.AuthorityKeyId}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pair.Leaf.PublicKey, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestExpiredCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	rewrite(t, dir, time.Now().Add(-90*24*time.Hour), time.Now().Add(-time.Hour))

	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	if _, err := d.Certificate(devName); err == nil {
		t.Error("an expired certificate is in use")
	}
	d.wait(t, devName)
	orders := p.Orders()
	if len(orders) != 2 || orders[1].Replaces != "" {
		t.Errorf("orders %+v", orders)
	}
	if ev := d.event(t, acme.Ordering); !strings.Contains(ev.Why, "expired") {
		t.Errorf("why: %q", ev.Why)
	}
}

func TestDueCertificateIsReplacedByName(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	rewrite(t, dir, time.Now().Add(-89*24*time.Hour), time.Now().Add(24*time.Hour))

	// The CA does not know this one, and refuses an order that names it.
	// Until the next attempt, which names none, it stays in use.
	d := newDevice(t, p, dir, nil)
	d.manage(t, devName)
	ev := d.event(t, acme.Failed)
	if ev.NotAfter.IsZero() {
		t.Error("the valid certificate was dropped")
	}
	orders := p.Orders()
	if n := len(orders); n < 2 || orders[n-1].Replaces == "" {
		t.Errorf("orders %+v", orders)
	}
}

func TestRenewalOfShortLivedCertificates(t *testing.T) {
	t.Parallel()
	const validity = 48 * time.Second // a renewal has a third of it, enough on a busy machine too
	p := startPebble(t, pebble.Options{Validity: validity})
	d := newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	d.wait(t, devName)
	first := d.event(t, acme.Obtained)
	// The CA advises any moment of the lifetime. It is followed from half of
	// it on, and without it two thirds are the limit.
	second := d.event(t, acme.Obtained)
	if left := time.Until(first.NotAfter); left <= 0 || left > validity/2+time.Second {
		t.Errorf("renewed %v before its end", left)
	}
	leaf, err := d.visit(p, devName, tls.VersionTLS13)
	if err != nil || !leaf.NotAfter.Equal(second.NotAfter) {
		t.Errorf("a visitor gets the certificate until %v: %v", leaf, err)
	}
	orders := p.Orders()
	if len(orders) != 2 || orders[1].Replaces == "" {
		t.Errorf("orders %+v", orders)
	}
}

// A certificate that has expired when it arrives, as all do where the clock is
// far ahead, is not ordered over and over.
func TestUselessCertificateIsNotOrderedOverAndOver(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{Validity: time.Second, NoARI: true}) // Pebble subtracts one
	d := newDevice(t, p, t.TempDir(), nil)
	d.manage(t, devName)
	ev := d.event(t, acme.Failed)
	if wait := time.Until(ev.Next); wait < 5*time.Second || !strings.Contains(ev.Err.Error(), "clock") {
		t.Errorf("%v, comes back in %v", ev.Err, wait)
	}
	if _, err := d.Certificate(devName); err == nil {
		t.Error("it is in use")
	}
}

func TestDamagedCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	cut := func(t *testing.T, file string) { write(t, file, read(t, file)[:10]) }
	remove := func(t *testing.T, file string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	empty := func(t *testing.T, file string) { write(t, file, nil) }
	foreign := func(t *testing.T, file string) { write(t, file, ed25519PEM(t)) }
	for _, c := range []struct {
		what, file string
		damage     func(*testing.T, string)
		orders     int
	}{
		{"cut", ".crt", cut, 1},
		{"cut", ".key", cut, 1},
		{"cut", ".json", cut, 0}, // advice only: not worth an order
		{"removed", ".crt", remove, 1},
		{"removed", ".key", remove, 1},
		{"removed", ".json", remove, 0},
		{"empty", ".crt", empty, 1},
		{"empty", ".key", empty, 1},
		{"of another", ".key", foreign, 1},
	} {
		dir := certified(t, p)
		before := len(p.Orders())
		c.damage(t, only(t, filepath.Join(dir, "certificates"), c.file))
		d := newDevice(t, p, dir, nil)
		d.manage(t, devName)
		d.wait(t, devName)
		if n := len(p.Orders()) - before; n != c.orders {
			t.Errorf("%s %s: %d orders, want %d", c.file, c.what, n, c.orders)
		}
		d.Close()
	}
}

func TestOneAccountPerFolder(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	d := newDevice(t, p, dir, func(c *acme.Config) { c.Email = "owner@example.com" })
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
	if n := p.Accounts(); n != 1 {
		t.Errorf("%d accounts", n)
	}
	d.Close()

	// A CA that has forgotten the account gets the same key again.
	key := read(t, filepath.Join(dir, "account.key"))
	file := only(t, filepath.Join(dir, "accounts"), ".json")
	var reg map[string]any
	if err := json.Unmarshal(read(t, file), &reg); err != nil {
		t.Fatal(err)
	}
	reg["location"] = reg["location"].(string) + "0"
	b, _ := json.Marshal(reg)
	write(t, file, b)
	d = newDevice(t, p, dir, nil)
	d.manage(t, "dev3.relay.test")
	d.wait(t, "dev3.relay.test")
	if n := p.Accounts(); n != 2 || !bytes.Equal(key, read(t, filepath.Join(dir, "account.key"))) {
		t.Errorf("%d registrations, or another key", n)
	}
}

func TestDamagedAccountKeyIsPutAside(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := certified(t, p)
	file := filepath.Join(dir, "account.key")
	damaged := read(t, file)[:40]
	write(t, file, damaged)
	d := newDevice(t, p, dir, nil)
	d.manage(t, "dev2.relay.test")
	d.wait(t, "dev2.relay.test")
	aside, _ := filepath.Glob(file + ".broken-*")
	if len(aside) != 1 || !bytes.Equal(read(t, aside[0]), damaged) {
		t.Errorf("put aside: %v", aside)
	}
	if n := p.Accounts(); n != 2 {
		t.Errorf("%d accounts", n)
	}
}

// Two programs may share a folder and a name: one orders, the other takes it.
func TestSharedFolderOrdersOnce(t *testing.T) {
	t.Parallel()
	p := startPebble(t, pebble.Options{})
	dir := t.TempDir()
	ordering := make(chan struct{})
	a := newDevice(t, p, dir, func(c *acme.Config) {
		c.Notify = func(ev acme.Event) {
			if ev.Kind == acme.Ordering {
				close(ordering)
			}
		}
	})
	a.manage(t, devName)
	<-ordering
	target := a.tls.Addr().String()
	b := newDevice(t, p, dir, nil)
	p.SetTLSTarget(target)
	b.manage(t, devName)
	a.wait(t, devName)
	b.wait(t, devName)
	b.event(t, acme.Loaded)
	if n := len(p.Orders()); n != 1 {
		t.Errorf("%d orders", n)
	}
}

package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"testing"

	"keystay/acme"
	"keystay/e2e/internal/pebble"
	"keystay/remote/watch/ct"
)

// With the certificates of real CAs: the device's own is known by what was noted before
// its order, and is the test signal; whatever else is for the name is foreign, be it of
// the device's own CA.
func TestCTTellsOwnCertificatesFromForeignOnes(t *testing.T) {
	t.Parallel()
	const name = "ct.relay.test"
	ca, otherCA := startPebble(t, pebble.Options{}), startPebble(t, pebble.Options{})
	issue := func(p *pebble.Server, dir string) *x509.Certificate {
		d := newDevice(t, p, dir, nil)
		d.manage(t, name)
		d.wait(t, name)
		cert, err := d.Certificate(name)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	dir := t.TempDir()
	own := issue(ca, dir)
	foreign, alsoForeign := issue(otherCA, t.TempDir()), issue(ca, t.TempDir())

	m := startMonitor()
	t.Cleanup(m.srv.Close)
	keys := acme.OpenKeys(dir)
	w := ct.New(ct.Config{URL: m.url(), Dir: t.TempDir(), Known: keys.Find, Begun: keys.Since})
	look := func() (seen, found []string) {
		t.Helper()
		s, err := w.Ask(t.Context(), ct.Name{Domain: name, Certificate: own})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s.Foreign {
			if f.Old {
				t.Errorf("%s is told as from before", f.ID)
			}
			found = append(found, f.Key)
		}
		return s.Seen, found
	}
	keyOf := func(cert *x509.Certificate) string {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		return hex.EncodeToString(sum[:])
	}
	if seen, found := look(); len(seen) > 0 || len(found) > 0 {
		t.Errorf("of an empty log: %q, %q", seen, found)
	}
	m.show(foreign.Raw)
	if seen, found := look(); len(seen) > 0 || !slices.Equal(found, []string{keyOf(foreign)}) {
		t.Errorf("with its own left out: %q, %q", seen, found)
	}
	m.show(own.Raw, alsoForeign.Raw)
	if seen, found := look(); !slices.Equal(seen, []string{keyOf(own)}) || !slices.Equal(found, []string{keyOf(foreign), keyOf(alsoForeign)}) {
		t.Errorf("of all: %q, %q", seen, found)
	}
	m.answer(503)
	if _, err := w.Ask(t.Context(), ct.Name{Domain: name}); err == nil || ct.IsLimit(err) {
		t.Errorf("of a monitor that is out of order: %v", err)
	}
}

package acme

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"keystay/internal/hint"
	"keystay/internal/testca"
)

// chainFiles writes certificates, by name, into a certificate's file, and the key
// of the first into a file of its own.
type chainFiles struct {
	cert, key   string
	certs, keys map[string][]byte // PEM
}

func newChainFiles(t *testing.T) *chainFiles {
	t.Helper()
	dir := t.TempDir()
	root := testca.New(t)
	middle := root.Intermediate("middle")
	leaf := middle.Issue("relay.test")
	leafKey, err := certmagic.PEMEncodePrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	alone, aloneKey := pair(t, "relay.test", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return &chainFiles{
		cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
		certs: map[string][]byte{"root": root.PEM(), "middle": middle.PEM(), "alone": alone,
			"leaf": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]})},
		keys: map[string][]byte{"leaf": leafKey, "alone": aloneKey},
	}
}

func (f *chainFiles) write(t *testing.T, chain string) {
	t.Helper()
	var b []byte
	names := strings.Fields(chain)
	for _, name := range names {
		b = append(b, f.certs[name]...)
	}
	if err := errors.Join(os.WriteFile(f.cert, b, 0o600), os.WriteFile(f.key, f.keys[names[0]], 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A file without the intermediate of its certificate is told, at the start and
// when it is read again.
func TestChainWithoutItsIntermediateIsTold(t *testing.T) {
	f := newChainFiles(t)
	f.write(t, "leaf middle")
	files, err := LoadFiles(f.cert, f.key, "")
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	files.OnReload(func(err error) { told = append(told, err) })
	for _, c := range []struct{ chain, want string }{
		{"leaf", `no intermediate certificate: it was issued by "CN=middle"`},
		{"leaf middle", ""},
		{"leaf middle root", ""},
		{"leaf root", "certificate 2 of its chain has not issued certificate 1"},
		{"leaf root middle", "certificate 2 of its chain has not issued certificate 1"},
		{"alone", ""},
	} {
		f.write(t, c.chain)
		told = nil
		if changed, err := files.Reload(); !changed || err != nil || len(told) != 1 || told[0] != nil {
			t.Fatalf("%s: changed %v, %v, told %v", c.chain, changed, err, told)
		}
		err := files.Incomplete(nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.chain, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), f.cert+": "+c.want) || len(hint.All(err)) == 0):
			t.Errorf("%s: %v, want %s", c.chain, err, c.want)
		}
	}
	if changed, err := files.Reload(); changed || err != nil {
		t.Errorf("the same files: %v, %v", changed, err)
	}
	for i, want := range []bool{true, false} { // told once
		if err := os.WriteFile(f.cert, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		told = nil
		if changed, err := files.Reload(); changed != want || err == nil || len(told) == 1 != want {
			t.Errorf("garbage, look %d: changed %v, %v, told %v", i, changed, err, told)
		}
	}
	if c, err := files.GetCertificate(nil); err != nil || c == nil {
		t.Errorf("the last good one is not served: %v", err)
	}
}

// Nothing is missing behind a certificate that a given root has issued.
func TestGivenRootNeedsNoIntermediate(t *testing.T) {
	ca, other, dir := testca.New(t), testca.New(t), t.TempDir()
	cert, key := ca.Files(dir, "a.test")
	files, err := LoadFiles(cert, key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Incomplete(ca.Pool()); err != nil {
		t.Errorf("its root was given: %v", err)
	}
	if err := files.Incomplete(other.Pool()); err == nil {
		t.Error("another root will do")
	}
}

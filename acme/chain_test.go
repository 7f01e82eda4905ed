package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keystay/internal/hint"
	"keystay/internal/testca"
)

// chainFiles writes certificates, by name, into a certificate's file, with the
// key that all of them have.
type chainFiles struct {
	cert, key string
	certs     map[string][]byte
}

func newChainFiles(t *testing.T) *chainFiles {
	t.Helper()
	dir := t.TempDir()
	f := &chainFiles{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), certs: make(map[string][]byte)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(name string, ca bool, parent *x509.Certificate) *x509.Certificate {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"relay.test"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true}
		if parent == nil {
			parent = tmpl
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		f.certs[name] = der
		return cert
	}
	middle := sign("middle", true, sign("root", true, nil))
	sign("leaf", false, middle)
	sign("alone", false, nil)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *chainFiles) write(t *testing.T, chain string) {
	t.Helper()
	var b []byte
	for name := range strings.FieldsSeq(chain) {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.certs[name]})...)
	}
	if err := os.WriteFile(f.cert, b, 0o600); err != nil {
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

// Package testca has a certificate authority for tests.
package testca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A CA issues server certificates for names, all with ECDSA P-256 keys. Make
// it with New. Its methods may be called from several goroutines at once; what
// goes wrong in them fails the test, with [testing.TB.Error] and a panic, so
// that this works in any goroutine.
type CA struct {
	// At is the URL that certificates of the CA name for its own one (RFC 5280, section
	// 4.2.2.1); empty is none.
	At string

	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New returns a root CA with a key of its own, for the test t. Its certificate is
// valid at any time from 1970 to 2200, as is needed under the clock of
// testing/synctest, which begins in 2000.
func New(t testing.TB) *CA {
	t.Helper()
	return newCA(t, "keystay test CA", nil)
}

// Intermediate returns a CA of that name whose certificate ca has issued.
func (ca *CA) Intermediate(name string) *CA {
	ca.t.Helper()
	return newCA(ca.t, name, ca)
}

// newCA returns a CA that the parent has issued, or that is a root without one.
func newCA(t testing.TB, name string, parent *CA) *CA {
	t.Helper()
	ca := &CA{t: t}
	ca.key = ca.newKey()
	ca.cert = &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if parent != nil {
		ca.cert = parent.sign(ca.cert, parent.cert, ca.key)
	} else {
		ca.cert = ca.sign(ca.cert, ca.cert, ca.key)
	}
	return ca
}

// Pool returns a new pool that holds the CA's certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// PEM returns the CA's certificate in PEM.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.cert.Raw) }

// Issue returns a certificate for the names, which may be DNS names, wildcards
// and IP addresses. It is valid from an hour ago until tomorrow. Its chain is
// the leaf alone.
func (ca *CA) Issue(names ...string) tls.Certificate {
	ca.t.Helper()
	now := time.Now()
	return ca.IssueValid(now.Add(-time.Hour), now.Add(24*time.Hour), names...)
}

// IssueValid is Issue with the time of validity, to the second, for tests of
// certificates that are expired, not yet valid or about to expire.
func (ca *CA) IssueValid(notBefore, notAfter time.Time, names ...string) tls.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ca.At != "" {
		template.IssuingCertificateURL = []string{ca.At}
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := ca.newKey()
	leaf := ca.sign(template, ca.cert, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Files issues a certificate for the names and writes it and its key in PEM
// into the folder dir, replacing those of an earlier call. It returns the
// paths of the two files.
func (ca *CA) Files(dir string, names ...string) (certFile, keyFile string) {
	ca.t.Helper()
	return ca.Write(dir, ca.Issue(names...))
}

// Write is Files for a certificate that was issued before.
func (ca *CA) Write(dir string, cert tls.Certificate) (certFile, keyFile string) {
	ca.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	ca.check(err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.check(os.WriteFile(certFile, encode("CERTIFICATE", cert.Leaf.Raw), 0o600))
	ca.check(os.WriteFile(keyFile, encode("PRIVATE KEY", key), 0o600))
	return certFile, keyFile
}

func (ca *CA) newKey() *ecdsa.PrivateKey {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ca.check(err)
	return key
}

// sign returns the certificate made from template for key, signed by the CA.
// The serial number is left to x509, which takes a random one.
func (ca *CA) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	ca.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), ca.key)
	ca.check(err)
	cert, err := x509.ParseCertificate(der)
	ca.check(err)
	return cert
}

func (ca *CA) check(err error) {
	ca.t.Helper()
	if err != nil {
		ca.t.Errorf("testca: %v", err)
		panic(err)
	}
}

func encode(kind string, der []byte) []byte {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a Buffer does not fail
	return b.Bytes()
}

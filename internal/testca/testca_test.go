package testca_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handshake connects to a server that has cert and returns the client's error.
func handshake(t *testing.T, cert tls.Certificate, roots *x509.CertPool, name string) error {
	t.Helper()
	c, s := memconn.Pipe(0)
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.Close()
		tls.Server(s, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
	}()
	err := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name}).Handshake()
	c.Close()
	<-done
	return err
}

func TestIssuedCertificateIsGoodForItsNames(t *testing.T) {
	ca := testca.New(t)
	cert := ca.Issue("relay.test", "*.relay.test", "192.0.2.1")
	for _, name := range []string{"relay.test", "xyz.relay.test", "192.0.2.1"} {
		if err := handshake(t, cert, ca.Pool(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var host x509.HostnameError
	if err := handshake(t, cert, ca.Pool(), "other.test"); !errors.As(err, &host) {
		t.Errorf("another name: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if err := handshake(t, cert, testca.New(t).Pool(), "relay.test"); !errors.As(err, &unknown) {
		t.Errorf("another CA: %v", err)
	}
	if a, b := cert.Leaf.SerialNumber, ca.Issue("relay.test").Leaf.SerialNumber; a.Cmp(b) == 0 {
		t.Errorf("two certificates with the serial number %v", a)
	}
}

func TestIntermediateIsTrustedBehindItsRoot(t *testing.T) {
	root := testca.New(t)
	middle := root.Intermediate("a middle")
	cert := middle.Issue("a.test")
	if cert.Leaf.Issuer.CommonName != "a middle" {
		t.Errorf("issued by %v", cert.Leaf.Issuer)
	}
	if err := handshake(t, cert, root.Pool(), "a.test"); err == nil {
		t.Error("a chain without the intermediate is trusted")
	}
	block, _ := pem.Decode(middle.PEM())
	cert.Certificate = append(cert.Certificate, block.Bytes)
	if err := handshake(t, cert, root.Pool(), "a.test"); err != nil {
		t.Error(err)
	}
}

func TestIssuedCertificateIsGoodInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testca.New(t)
		now := time.Now()
		cert := ca.IssueValid(now.Add(time.Hour), now.Add(2*time.Hour), "a.test")
		var invalid x509.CertificateInvalidError
		if err := handshake(t, cert, ca.Pool(), "a.test"); !errors.As(err, &invalid) {
			t.Errorf("not yet valid: %v", err)
		}
		time.Sleep(time.Hour)
		if err := handshake(t, cert, ca.Pool(), "a.test"); err != nil {
			t.Errorf("valid: %v", err)
		}
		time.Sleep(time.Hour + time.Second)
		if err := handshake(t, cert, ca.Pool(), "a.test"); !errors.As(err, &invalid) {
			t.Errorf("expired: %v", err)
		}
	})
}

func TestFilesHoldACertificateAndItsKey(t *testing.T) {
	ca := testca.New(t)
	certFile, keyFile := ca.Files(t.TempDir(), "a.test")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("no certificate in PEM")
	}
	if err := handshake(t, cert, roots, "a.test"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}

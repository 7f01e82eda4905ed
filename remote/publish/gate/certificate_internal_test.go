package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// chainOf returns certificates that have one name and one key, so that each may have
// signed each: the most work to look at. The first one may be a client's.
func chainOf(t *testing.T, n int) (chain []*x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "clients"}, DNSNames: []string{string(rune('a' + i))},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

// A chain of certificates is looked at once and not with each request, good or bad: a
// visitor could send one that takes long, and then many small requests.
func TestAChainIsLookedAtOnce(t *testing.T) {
	chain := chainOf(t, maxChain)
	for what, c := range map[string]*certificates{"good": newCertificates(chain[:1]), "bad": newCertificates(chainOf(t, 1))} {
		first := c.user(t.Context(), chain) != nil
		if first != (what == "good") {
			t.Fatalf("a %s chain lets in: %v", what, first)
		}
		c.looks = nil // a look would panic
		for range 3 {
			if c.user(t.Context(), chain) != nil != first {
				t.Errorf("a %s chain does not stay it", what)
			}
		}
	}
}

// A chain with more certificates, or longer ones, than any needs is not looked at.
func TestALongChainIsNotLookedAt(t *testing.T) {
	chain := chainOf(t, maxChain+1)
	c := newCertificates(chain[:1])
	c.looks = nil
	long := *chain[0]
	long.Raw = make([]byte, maxChainBytes+1)
	if c.user(t.Context(), chain) != nil || c.user(t.Context(), []*x509.Certificate{&long}) != nil {
		t.Error("it lets in")
	}
}

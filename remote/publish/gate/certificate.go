package gate

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// ParseCA reads the certificates of CAs, as PEM, for Rule.ClientCA. An error is for
// people, with hints.
func ParseCA(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(ownfile.PEM(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		if !c.IsCA {
			return nil, hint.GateNotCA.Error(fmt.Errorf("certificate %d, %s, is none of a CA", len(all)+1, c.Subject))
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, hint.NoRoots.Error(errors.New("it holds no certificate"), "FILE", "the file")
	}
	return all, nil
}

const (
	// certificateTime is how long a certificate that was found good is not looked at
	// again, unless it ends before.
	certificateTime = time.Minute
	// maxCertificates is how many of them are remembered, and maxChain how many a
	// visitor may send.
	maxCertificates = 1024
	maxChain        = 10
)

// Certificates are the client certificates that a rule lets in.
type certificates struct {
	roots *x509.CertPool

	mu   sync.Mutex
	good map[[sha256.Size]byte]time.Time // until when
}

func newCertificates(cas []*x509.Certificate) *certificates {
	c := &certificates{roots: x509.NewCertPool(), good: make(map[[sha256.Size]byte]time.Time)}
	for _, ca := range cas {
		c.roots.AddCert(ca)
	}
	return c
}

// user returns the user of a chain that a visitor has shown in its handshake, or nil.
// The handshake has proven that it has the key of the first. A session that was
// resumed has the chain of the first handshake: it is verified for now.
func (c *certificates) user(chain []*x509.Certificate) *user {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil
	}
	if !c.verify(chain) {
		return nil
	}
	return &user{Name: subject(chain[0]), Email: first(chain[0].EmailAddresses)}
}

// verify reports whether a chain leads to one of the CAs, is for clients and valid now.
func (c *certificates) verify(chain []*x509.Certificate) bool {
	now := time.Now()
	h := sha256.New()
	for _, cert := range chain {
		sum := sha256.Sum256(cert.Raw)
		h.Write(sum[:])
	}
	key := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	until, ok := c.good[key]
	c.mu.Unlock()
	if ok && now.Before(until) {
		return true
	}
	others := x509.NewCertPool()
	for _, cert := range chain[1:] {
		others.AddCert(cert)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return false
	}
	until = now.Add(certificateTime)
	for _, cert := range chains[0] {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.good) >= maxCertificates {
		clear(c.good)
	}
	c.good[key] = until
	return true
}

// subject is what a certificate calls its owner: the common name, else the first of
// its alternative names.
func subject(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	if name := first(c.EmailAddresses); name != "" {
		return name
	}
	if name := first(c.DNSNames); name != "" {
		return name
	}
	if len(c.URIs) > 0 {
		return c.URIs[0].String()
	}
	return ""
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

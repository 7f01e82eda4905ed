package gate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/signin"
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
	// certificateTime is how long a chain that was found good or bad is not looked at
	// again, unless it ends before.
	certificateTime = time.Minute
	// maxCertificates is how many of them are remembered.
	maxCertificates = 1024
	// maxChain is how many certificates a visitor may send, and maxChainBytes how long
	// they may be together. With more there are more ways to try from one to another:
	// with ten of a visitor's own making a look takes a tenth of a second.
	maxChain      = 5
	maxChainBytes = 32 << 10
)

// Certificates are the client certificates that a rule lets in.
type certificates struct {
	roots *x509.CertPool
	looks *signin.Hashing // bad ones cost time: services have half of the processors

	mu    sync.Mutex
	known map[[sha256.Size]byte]verdict // by the sum of a chain
}

// A verdict is what is known of a chain.
type verdict struct {
	good  bool
	until time.Time
}

func newCertificates(cas []*x509.Certificate) *certificates {
	c := &certificates{roots: x509.NewCertPool(), looks: signin.NewHashing(), known: make(map[[sha256.Size]byte]verdict)}
	for _, ca := range cas {
		c.roots.AddCert(ca)
	}
	return c
}

// user returns the user of a chain that a visitor has shown in its handshake, or nil.
// The handshake has proven that it has the key of the first. A session that was
// resumed has the chain of the first handshake: it is verified for now.
func (c *certificates) user(ctx context.Context, chain []*x509.Certificate) *user {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil
	}
	size := 0
	for _, cert := range chain {
		size += len(cert.Raw)
	}
	if size > maxChainBytes || !c.good(ctx, chain) {
		return nil
	}
	return &user{Name: subject(chain[0]), Email: first(chain[0].EmailAddresses)}
}

// good reports whether a chain leads to one of the CAs, is for clients and valid now.
// It is looked at once in a while, and not with each request.
func (c *certificates) good(ctx context.Context, chain []*x509.Certificate) bool {
	h := sha256.New()
	for _, cert := range chain {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(cert.Raw))))
		h.Write(cert.Raw)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	v, ok := c.known[key]
	c.mu.Unlock()
	if ok && time.Now().Before(v.until) {
		return v.good
	}
	if !c.looks.Do(ctx, func() { v = c.verify(chain) }) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCertificates {
		clear(c.known)
	}
	c.known[key] = v
	return v.good
}

// verify looks at a chain.
func (c *certificates) verify(chain []*x509.Certificate) verdict {
	now := time.Now()
	v := verdict{until: now.Add(certificateTime)}
	others := x509.NewCertPool()
	for _, cert := range chain[1:] {
		others.AddCert(cert)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return v
	}
	v.good = true
	for _, cert := range chains[0] {
		if cert.NotAfter.Before(v.until) {
			v.until = cert.NotAfter
		}
	}
	return v
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

package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/hostname"
)

// ALPN is the protocol of a tls-alpn-01 validation (RFC 8737). A connection
// that negotiated it carries nothing: close it after the handshake.
const ALPN = acmez.ACMETLS1Protocol

// challengePath is where http-01 validations look (RFC 8555 section 8.3).
const challengePath = "/.well-known/acme-challenge/"

// GetCertificate serves [tls.Config.GetCertificate]: the valid certificate for
// the name in hello, or the answer to a validation under way where hello
// offers ALPN alone. The error wraps ErrUnknownName or ErrNoCertificate.
func (k *Keeper) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !isValidation(hello) {
		return k.Certificate(hello.ServerName)
	}
	e := k.lookup(hello.ServerName)
	if e == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, hello.ServerName)
	}
	if cert := k.answers.alpnCert(e.name); cert != nil {
		return cert, nil
	}
	return nil, fmt.Errorf("acme: no validation of %q is under way", hello.ServerName)
}

// TLSConfig returns a configuration for the visitors of every managed name:
// TLS 1.2 or later, h2 and http/1.1. The CA's validations are answered on the
// same listener; the caller closes a connection whose NegotiatedProtocol is
// ALPN after the handshake.
func (k *Keeper) TLSConfig() *tls.Config {
	c := serverConfig(k.GetCertificate)
	validation := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{ALPN},
		GetCertificate:         k.GetCertificate,
		SessionTicketsDisabled: true,
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if isValidation(hello) {
			return validation, nil
		}
		return nil, nil
	}
	return c
}

// serverConfig is what visitors get, whoever made the certificate.
func serverConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   suites12(),
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: get,
	}
}

// suites12 are those of TLS 1.2 with forward secrecy and authenticated
// encryption (RFC 9325 section 4.2), the only ones that HTTP/2 allows. Go has
// CBC suites on by default too. Those of TLS 1.3 are not chosen.
func suites12() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// isValidation reports whether hello offers ALPN and nothing else, which is
// how a validation must look (RFC 8737 section 3).
func isValidation(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPN
}

// HTTPChallenge returns a handler that answers http-01 validations of this
// Keeper's own orders and leaves everything else to next, validations of other
// names and unknown tokens included. A nil next answers 404.
func (k *Keeper) HTTPChallenge(next http.Handler) http.Handler {
	if next == nil {
		next = http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			if token, ok := strings.CutPrefix(r.URL.Path, challengePath); ok {
				name, _ := hostname.OfHeader(r.Host) // no order is for ""
				if answer := k.answers.keyAuth(name, token); answer != "" {
					w.Header().Set("Content-Type", "application/octet-stream")
					_, _ = io.WriteString(w, answer)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// challenges holds the answers to the validations under way. It is the
// acmez.Solver of both kinds.
type challenges struct {
	mu   sync.RWMutex
	alpn map[string]*tls.Certificate // by name
	http map[string]acme.Challenge   // by name
}

func newChallenges() *challenges {
	return &challenges{alpn: make(map[string]*tls.Certificate), http: make(map[string]acme.Challenge)}
}

// Present makes the answer to chal available.
func (c *challenges) Present(_ context.Context, chal acme.Challenge) error {
	var cert *tls.Certificate
	if chal.Type == acme.ChallengeTypeTLSALPN01 {
		var err error
		if cert, err = acmez.TLSALPN01ChallengeCert(chal); err != nil {
			return fmt.Errorf("make validation certificate: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert != nil {
		c.alpn[chal.Identifier.Value] = cert
	} else {
		c.http[chal.Identifier.Value] = chal
	}
	return nil
}

// CleanUp takes the answer to chal away.
func (c *challenges) CleanUp(_ context.Context, chal acme.Challenge) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if chal.Type == acme.ChallengeTypeTLSALPN01 {
		delete(c.alpn, chal.Identifier.Value)
	} else {
		delete(c.http, chal.Identifier.Value)
	}
	return nil
}

// alpnCert returns the certificate that answers for name, or nil.
func (c *challenges) alpnCert(name string) *tls.Certificate {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.alpn[name]
}

// keyAuth returns the key authorization for name and token, or "". Both must
// match: a token that is merely copied from the request would help whoever
// gets a name pointed here (RFC 8555 section 8.3).
func (c *challenges) keyAuth(name, token string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if chal, ok := c.http[name]; ok && chal.Token == token {
		return chal.KeyAuthorization
	}
	return ""
}

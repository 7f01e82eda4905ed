package acme

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"keystay/internal/hint"
)

// Incomplete returns what looks missing in the chain of the certificate as it was
// read last, or nil: with one certificate alone, the intermediate between it and
// a root; with more, the one that has issued the one before it. Some clients
// look for what is missing by themselves, and most do not. Nothing is missing
// behind a certificate that a root of the system has issued, or one of roots,
// which may be nil.
func (f *Files) Incomplete(roots *x509.CertPool) error {
	f.mu.Lock()
	sent := f.cert.Certificate
	f.mu.Unlock()
	var chain []*x509.Certificate
	for _, der := range sent {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return &FileError{Path: f.certFile, Err: err}
		}
		chain = append(chain, cert)
	}
	for i, cert := range chain[:len(chain)-1] {
		next := chain[i+1]
		if !bytes.Equal(cert.RawIssuer, next.RawSubject) || cert.CheckSignatureFrom(next) != nil {
			err := fmt.Errorf("certificate %d of its chain has not issued certificate %d", i+2, i+1)
			return &FileError{Path: f.certFile, Err: err, advice: hint.NoChain}
		}
	}
	if len(chain) > 1 || issuedItself(chain[0]) || issuedBy(nil, chain[0]) || roots != nil && issuedBy(roots, chain[0]) {
		return nil
	}
	err := fmt.Errorf("no intermediate certificate: it was issued by %q, which is no root of this system", chain[0].Issuer)
	return &FileError{Path: f.certFile, Err: err, advice: hint.NoChain}
}

func issuedItself(cert *x509.Certificate) bool { return bytes.Equal(cert.RawIssuer, cert.RawSubject) }

// issuedBy reports whether one of roots has issued cert, whatever else may be
// wrong with it. Nil stands for the roots of the system.
func issuedBy(roots *x509.CertPool, cert *x509.Certificate) bool {
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: cert.NotAfter})
	var unknown x509.UnknownAuthorityError
	return !errors.As(err, &unknown)
}

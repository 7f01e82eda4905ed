package remote

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"keystay/internal/statement"
)

// statementAge is how long a statement is given out: the device signs anew no more often
// than that, however many visitors ask.
const statementAge = time.Minute

// errNoStatement is the error of a name that shows no certificate of this device's.
var errNoStatement = errors.New("the device shows no certificate for the name")

// A signedStatement is the last one of a listener, and what it was made of.
type signedStatement struct {
	mu   sync.Mutex
	doc  []byte
	cert *x509.Certificate
	key  ed25519.PublicKey
	at   time.Time
}

// Statement returns the document to answer with at /.well-known/keystay, in JSON: the
// device's signature over the name, the key of the certificate that visitors are shown
// now, the ACME account that ordered it and the time, which is up to a minute old
// (docs/verify.md). It returns an error with Raw, and while there is no certificate. The
// caller must not change the document. Statement may be called by several goroutines at
// once.
func (l *Listener) Statement() ([]byte, error) {
	cert := l.Certificate()
	if cert == nil {
		return nil, errNoStatement
	}
	key := l.d.state.keys.current()
	public := key.Public().(ed25519.PublicKey)
	s := &l.signed
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if age := now.Sub(s.at); s.doc != nil && s.cert.Equal(cert) && s.key.Equal(public) && age >= 0 && age < statementAge {
		return s.doc, nil
	}
	said := statement.Statement{Name: l.domain, Word: l.how.Word, CertificateKey: statement.KeyOf(cert), Time: now}
	if l.keeper != nil {
		said.Account = l.keeper.Account(l.domain)
	}
	s.doc, s.cert, s.key, s.at = statement.Sign(key, said), cert, public, now
	return s.doc, nil
}

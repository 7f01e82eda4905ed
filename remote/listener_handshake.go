package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"keystay/acme"
	"keystay/framing"
)

// A Handshake says how the TLS of a name's visitors is agreed on. The zero value is
// HTTP/2 and HTTP/1.1, or what the TLS configuration that was brought says, and asks
// for no certificate.
type Handshake struct {
	// Protocols chooses an application protocol (ALPN, RFC 7301) among those that a
	// visitor offers, in its order; offered is empty where it offers none. Chosen may
	// be empty for none; else it must be one of those offered. With false the visitor
	// gets the alert no_application_protocol. A CA's validation is not asked about. It
	// is called for many visitors at once, and must not block. Nil is the zero value's.
	Protocols func(offered []string) (chosen string, ok bool)

	// ClientCAs are told to visitors, who are asked for a certificate of one of them.
	// No visitor is refused here for the lack of one, and none is verified: whoever
	// reads ConnectionState().PeerCertificates does that. Nil asks for none.
	ClientCAs *x509.CertPool
}

// errNoProtocol is the error of a visitor who offers no protocol that is served.
var errNoProtocol = errors.New("no protocol that the visitor offers is served")

// noApplicationProtocol is the alert of that name as a record (RFC 7301, section 3.2).
var noApplicationProtocol = []byte{21, 3, 3, 0, 2, 2, 120}

// SetHandshake takes the place of Name.Handshake for new visitors. No connection is
// cut. A visitor that has resumed a session from before is asked anew.
func (l *Listener) SetHandshake(h Handshake) {
	if !l.cfg.Raw {
		l.tls.Store(h.config(l.base))
	}
}

// SetRules takes the place of Name.Rules for new visitors, here at once and at each
// relay as soon as it is told. No connection is cut. The error says why no relay can be
// told such rules; then those from before hold.
func (l *Listener) SetRules(rules framing.Rules) error {
	if err := rules.Check(); err != nil {
		return fmt.Errorf("rules for %s: %w", l.domain, err)
	}
	l.mu.Lock()
	l.rules = rules
	l.number++
	l.mu.Unlock()
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for _, w := range l.d.ways {
		if _, wants := w.wants[l]; wants {
			w.tellLocked()
		}
	}
	return nil
}

// currentRules returns the rules in force, and their number.
func (l *Listener) currentRules() (number int, rules framing.Rules) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number, l.rules
}

func (l *Listener) rulesNumber() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number
}

// config returns base with what h says.
func (h Handshake) config(base *tls.Config) *tls.Config {
	if h.Protocols == nil && h.ClientCAs == nil {
		return base
	}
	own := base.Clone()
	if h.ClientCAs != nil {
		own.ClientCAs, own.ClientAuth = h.ClientCAs, tls.RequestClientCert
	}
	outer := own.Clone() // it has the keys of the session tickets
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if isValidation(hello) && base.GetConfigForClient != nil {
			return base.GetConfigForClient(hello)
		}
		if h.Protocols == nil {
			return nil, nil
		}
		chosen, ok := h.Protocols(hello.SupportedProtos)
		if !ok {
			_, _ = hello.Conn.Write(noApplicationProtocol) // before the alert of crypto/tls, which means a mistake here
			return nil, errNoProtocol
		}
		c := own.Clone()
		c.GetConfigForClient, c.NextProtos = nil, nil
		if chosen != "" {
			c.NextProtos = []string{chosen}
		}
		return c, nil
	}
	return outer
}

// isValidation reports whether a visitor is a CA that validates the name (RFC 8737,
// section 3).
func isValidation(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPN
}

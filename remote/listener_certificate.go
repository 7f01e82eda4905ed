package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
)

// openCertificate prepares the certificate: from ACME, or the one brought along.
func (l *Listener) openCertificate() error {
	if l.cfg.Raw {
		return nil
	}
	l.base = l.cfg.TLS
	if l.base == nil {
		keeper, err := l.d.orders.open()
		if err != nil {
			return err
		}
		l.base = withName(keeper.TLSConfig(), l.domain)
		l.keeper = keeper
		if err := keeper.Manage(l.domain); err != nil {
			return err
		}
	}
	l.SetHandshake(l.cfg.Handshake)
	return nil
}

// closeCertificate ends what openCertificate began.
func (l *Listener) closeCertificate() {
	if l.keeper != nil {
		l.keeper.Forget(l.domain)
	}
}

// withName makes config choose the certificate of domain for a visitor that has
// sent no name, or an address (RFC 6066, section 3: neither is a name). The relay
// leads such a visitor here where its operator has said so.
func withName(config *tls.Config, domain string) *tls.Config {
	get := config.GetCertificate
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if _, err := netip.ParseAddr(hello.ServerName); err == nil || hello.ServerName == "" {
			named := *hello
			named.ServerName = domain
			hello = &named
		}
		return get(hello)
	}
	return config
}

// certified reports whether no first certificate is to be ordered: there is a valid
// one, or one was brought along.
func (l *Listener) certified() bool {
	return !l.cfg.Raw && (l.cfg.TLS != nil || l.Certificate() != nil)
}

// Certificate is what visitors are shown now, or nil while there is none.
func (l *Listener) Certificate() *x509.Certificate {
	if l.cfg.Raw {
		return nil
	}
	if l.base.GetCertificate == nil {
		if len(l.base.Certificates) == 0 {
			return nil
		}
		return l.base.Certificates[0].Leaf
	}
	c, err := l.base.GetCertificate(&tls.ClientHelloInfo{ServerName: l.domain})
	if err != nil || c == nil {
		return nil
	}
	return c.Leaf
}

package remote

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"

	"keystay/acme"
)

// openCertificate prepares the certificate: from ACME, or the one brought along.
func (l *Listener) openCertificate() error {
	if l.cfg.Raw {
		return nil
	}
	if l.cfg.TLS != nil {
		l.tls = l.cfg.TLS
		return nil
	}
	c := l.cfg.ACME
	c.Dir = filepath.Join(l.d.state.dir, acmeDir)
	c.Ready = l.ready
	c.Hold = l.held
	if c.Logger == nil {
		c.Logger = l.d.log
	}
	if c.Proxy == nil {
		c.Proxy = l.cfg.Proxy
	}
	notify := c.Notify
	c.Notify = func(e acme.Event) {
		l.noteOrder(e)
		if notify != nil {
			notify(e)
		}
	}
	var err error
	if l.keeper, err = acme.New(c); err != nil {
		return err
	}
	if err := l.keeper.Manage(l.domain); err != nil {
		l.keeper.Close()
		return err
	}
	l.tls = withName(l.keeper.TLSConfig(), l.domain)
	l.plain.init()
	l.http01 = &http.Server{
		Handler:           l.keeper.HTTPChallenge(nil),
		ReadHeaderTimeout: visitorHandshakeTimeout,
		WriteTimeout:      visitorHandshakeTimeout,
		IdleTimeout:       visitorHandshakeTimeout,
		ConnState:         l.plain.state,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(l.d.log.Handler(), slog.LevelDebug),
	}
	l.d.wg.Go(func() { l.http01.Serve(&l.plain) })
	return nil
}

// closeCertificate ends what openCertificate began.
func (l *Listener) closeCertificate() {
	if l.keeper == nil {
		return
	}
	l.plain.Close()
	l.http01.Close()
	l.keeper.Close()
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
	if l.tls.GetCertificate == nil {
		if len(l.tls.Certificates) == 0 {
			return nil
		}
		return l.tls.Certificates[0].Leaf
	}
	c, err := l.tls.GetCertificate(&tls.ClientHelloInfo{ServerName: l.domain})
	if err != nil || c == nil {
		return nil
	}
	return c.Leaf
}

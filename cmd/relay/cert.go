package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// ownCert is the certificate for the relay's own name, from files or ACME. With
// ACME its maintenance can be paused, while another process may have it; the
// certificate is served all the time.
type ownCert struct {
	domain string
	acme   acme.Config
	log    *slog.Logger
	files  *acme.Files   // nil with ACME
	anew   chan struct{} // with files: they were taken anew; has room for one
	now    atomic.Pointer[certSource]
}

// A certSource is where the certificate comes from at the moment.
type certSource struct {
	tls       *tls.Config
	challenge http.Handler // nil answers 404
	keeper    *acme.Keeper // nil with files, and while paused
	ready     func() error // why there is no certificate, or nil
}

func newOwnCert(cfg *config.Relay, log *slog.Logger) (*ownCert, error) {
	c := &ownCert{domain: cfg.Domain, log: log}
	if cfg.TLS.CertFile != "" {
		files, err := acme.LoadFiles(cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.Domain)
		if err != nil {
			return nil, cli.Usage(err)
		}
		if err := ownfile.Exposed(cfg.TLS.KeyFile); err != nil {
			log.Warn(err.Error(), hint.Attr(hint.All(err)))
		}
		c.files, c.anew = files, make(chan struct{}, 1)
		c.judge()
		files.OnReload(c.told)
		c.now.Store(&certSource{tls: files.TLSConfig(), ready: c.fit})
		return c, nil
	}
	c.acme = acme.Config{
		Dir:      filepath.Join(cfg.StateDir, "acme"),
		CA:       cfg.ACME.CA,
		Email:    cfg.ACME.Email,
		EABKeyID: cfg.ACME.EAB.KID, EABMACKey: string(cfg.ACME.EAB.HMAC),
		NoHTTP01: len(cfg.HTTPListen) == 0,
		Logger:   log,
	}
	var err error
	if c.acme.Roots, err = cli.Roots("acme.ca_root", cfg.ACME.CARoot); err != nil {
		return nil, cli.Usage(err)
	}
	source, err := c.fromACME()
	if err != nil {
		return nil, err
	}
	c.now.Store(source)
	return c, nil
}

// fromACME makes a source with a keeper that manages nothing yet.
func (c *ownCert) fromACME() (*certSource, error) {
	keeper, err := acme.New(c.acme)
	if err != nil {
		return nil, err
	}
	return &certSource{tls: keeper.TLSConfig(), challenge: keeper.HTTPChallenge(nil), keeper: keeper,
		ready: func() error {
			_, err := keeper.Certificate(c.domain)
			return err
		}}, nil
}

// manage starts obtaining the certificate; the CA's validation can arrive.
func (c *ownCert) manage() error {
	keeper := c.now.Load().keeper
	if keeper == nil {
		return nil
	}
	return keeper.Manage(c.domain)
}

// pause ends the maintenance. The certificate that there is stays in use.
func (c *ownCert) pause() {
	keeper := c.now.Load().keeper
	if keeper == nil {
		return
	}
	cert, err := keeper.Certificate(c.domain)
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, err }
	c.now.Store(&certSource{tls: &tls.Config{GetCertificate: get}, ready: func() error { return err }})
	keeper.Close()
}

// resume ends a pause.
func (c *ownCert) resume() {
	if c.acme.Dir == "" || c.now.Load().keeper != nil {
		return
	}
	source, err := c.fromACME()
	if err == nil {
		err = source.keeper.Manage(c.domain) // loads the certificate that there is
		c.now.Store(source)
	}
	if err != nil {
		c.log.Error("the certificate is not renewed any more", "err", err)
	}
}

// tlsConfig serves the certificate, wherever it comes from at the moment.
func (c *ownCert) tlsConfig() *tls.Config {
	config := c.now.Load().tls.Clone()
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.now.Load().tls.GetCertificate(hello)
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if f := c.now.Load().tls.GetConfigForClient; f != nil {
			return f(hello)
		}
		return nil, nil
	}
	return config
}

// challenge answers the CA's HTTP-01 requests for the relay's own name.
func (c *ownCert) challenge(w http.ResponseWriter, r *http.Request) {
	if h := c.now.Load().challenge; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// wait returns the certificate when there is one. The error says that there will
// be none here.
func (c *ownCert) wait(ctx context.Context) (*tls.Certificate, error) {
	if c.files != nil {
		if err := c.waitFit(ctx); err != nil {
			return nil, err
		}
	}
	now := c.now.Load()
	if now.keeper != nil {
		if err := now.keeper.Wait(ctx, c.domain); err != nil {
			return nil, err
		}
	}
	return now.tls.GetCertificate(&tls.ClientHelloInfo{ServerName: c.domain})
}

// ends is when the certificate ends that is in use, or the zero time without one.
func (c *ownCert) ends() time.Time {
	cert, err := c.now.Load().tls.GetCertificate(&tls.ClientHelloInfo{ServerName: c.domain})
	if err != nil || cert == nil || cert.Leaf == nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}

// ready says why the relay cannot let remotes in now, or nil.
func (c *ownCert) ready() error { return c.now.Load().ready() }

func (c *ownCert) close() {
	if keeper := c.now.Load().keeper; keeper != nil {
		keeper.Close()
	}
}

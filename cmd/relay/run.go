package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/relay"
)

// drainTimeout is how long visitors may finish after the first signal.
const drainTimeout = 30 * time.Second

func run(ctx context.Context, cfg *config.Relay, warnings []config.Warning) error {
	log, err := cli.Logger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return cli.Usage(err)
	}
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key)
	}
	drain, cut, stop := cli.Signals(ctx)
	defer stop()

	grants, err := relay.OpenGrants(cfg.StateDir)
	if err != nil {
		return stateError(cfg.StateDir, err)
	}
	defer grants.Close()
	cert, err := certificate(cfg, log)
	if err != nil {
		return err
	}
	defer cert.close()

	srv := &relay.Server{
		Domain:    cfg.Domain,
		TLS:       cert.tls,
		Challenge: cert.challenge,
		Names:     &relay.Names{Policy: relay.Policy(cfg.Names.Policy), Tokens: tokens(cfg), Grants: grants},
		Abuse:     cfg.Abuse,
		Version:   cli.Version(),
		Logger:    log,
	}
	defer srv.Close()
	failed := make(chan error, 1)
	serve, err := listen(cfg, srv, cert, log)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range serve {
		wg.Go(func() {
			if err := s(); !errors.Is(err, relay.ErrServerClosed) && !errors.Is(err, http.ErrServerClosed) {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := cert.manage(cfg.Domain); err != nil {
		return err
	}
	select {
	case err := <-failed:
		srv.Close()
		return err
	case <-drain.Done():
	}
	log.Info("draining", "for", drainTimeout)
	end, cancel := context.WithTimeout(cut, drainTimeout)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		log.Warn("visitors were cut off", "err", err)
	}
	return nil
}

// listen opens every socket before any is served, so that a mistake is found
// at once, and returns what serves them.
func listen(cfg *config.Relay, srv *relay.Server, cert *ownCert, log *slog.Logger) (serve []func() error, err error) {
	var opened []net.Listener
	open := func(what, addr string, use func(net.Listener) error) {
		if err != nil {
			return
		}
		ln, lerr := net.Listen("tcp", addr)
		if lerr != nil {
			err = listenError(what, addr, lerr)
			return
		}
		opened = append(opened, ln)
		log.Info("listening", "for", what, "addr", ln.Addr().String())
		serve = append(serve, func() error { return use(ln) })
	}
	for _, a := range cfg.Listen {
		open("public", a, srv.Serve)
	}
	for _, a := range cfg.HTTPListen {
		open("http", a, srv.ServeHTTP01)
	}
	if cfg.Admin.Listen != "" {
		open("admin", cfg.Admin.Listen, func(ln net.Listener) error { return srv.ServeAdmin(ln, cert.ready) })
	}
	if err != nil {
		for _, ln := range opened {
			ln.Close()
		}
		return nil, err
	}
	return serve, nil
}

func listenError(what, addr string, err error) error {
	e := &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("listen for %s on %s: %w", what, addr, err)}
	switch {
	case errors.Is(err, os.ErrPermission):
		e.Hints = []string{"ports below 1024 need a privilege: run it by the systemd unit in deploy/, or give the program CAP_NET_BIND_SERVICE"}
	case isInUse(err):
		e.Hints = []string{"another program has this port: find it with ss -ltnp, or choose another address"}
	}
	return e
}

func stateError(dir string, err error) error {
	e := &cli.Error{Code: cli.ExitFailed, Err: err}
	switch {
	case errors.Is(err, relay.ErrInUse):
		e.Hints = []string{"stop the other relay first, or give this one a state_dir of its own"}
	case errors.Is(err, os.ErrPermission):
		e.Hints = []string{"make " + dir + " writable for the user who runs the relay, or set state_dir"}
	}
	return e
}

func tokens(cfg *config.Relay) []relay.Token {
	list := make([]relay.Token, len(cfg.Tokens))
	for i, t := range cfg.Tokens {
		list[i] = relay.Token{Secret: string(t.Secret), Names: t.Names}
	}
	return list
}

// ownCert is the certificate for the relay's own name, from files or ACME.
type ownCert struct {
	tls       *tls.Config
	challenge http.Handler
	keeper    *acme.Keeper // nil with files
	domain    string
}

func certificate(cfg *config.Relay, log *slog.Logger) (*ownCert, error) {
	c := &ownCert{domain: cfg.Domain}
	if cfg.TLS.CertFile != "" {
		files, err := acme.LoadFiles(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, cli.Usage(err)
		}
		c.tls = files.TLSConfig()
		return c, nil
	}
	ac := acme.Config{
		Dir:      filepath.Join(cfg.StateDir, "acme"),
		CA:       cfg.ACME.CA,
		Email:    cfg.ACME.Email,
		EABKeyID: cfg.ACME.EAB.KID, EABMACKey: string(cfg.ACME.EAB.HMAC),
		NoHTTP01: len(cfg.HTTPListen) == 0,
		Logger:   log,
	}
	if cfg.ACME.CARoot != "" {
		pem, err := os.ReadFile(cfg.ACME.CARoot)
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("read acme.ca_root: %w", err))
		}
		ac.Roots = x509.NewCertPool()
		if !ac.Roots.AppendCertsFromPEM(pem) {
			return nil, cli.Usage(fmt.Errorf("acme.ca_root: %s holds no PEM certificate", cfg.ACME.CARoot))
		}
	}
	keeper, err := acme.New(ac)
	if err != nil {
		return nil, err
	}
	c.keeper, c.tls, c.challenge = keeper, keeper.TLSConfig(), keeper.HTTPChallenge(nil)
	return c, nil
}

// manage starts obtaining the certificate; the CA's validation can arrive.
func (c *ownCert) manage(domain string) error {
	if c.keeper == nil {
		return nil
	}
	return c.keeper.Manage(domain)
}

// ready says why the relay cannot let remotes in now, or nil.
func (c *ownCert) ready() error {
	if c.keeper == nil {
		return nil
	}
	_, err := c.keeper.Certificate(c.domain)
	return err
}

func (c *ownCert) close() {
	if c.keeper != nil {
		c.keeper.Close()
	}
}

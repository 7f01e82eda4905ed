package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/framing"
	"keystay/internal/budget"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/httpdrain"
	"keystay/remote"
	"keystay/remote/publish"
)

func run(ctx context.Context, cfg *config.Remote, warnings []config.Warning) error {
	if err := built(cfg); err != nil {
		return cli.Usage(err)
	}
	hangups, stopHangups := cli.Hangups()
	var reloads sync.WaitGroup
	defer func() {
		stopHangups()
		reloads.Wait()
	}()
	log, files, rc, err := prepare(cfg, warnings)
	if err != nil {
		return cli.Usage(err)
	}
	drain, cut, stop := cli.Signals(ctx)
	defer stop()
	ln, err := remote.Listen(rc)
	if err != nil {
		return listenError(cfg, err)
	}
	if p, ok := log.Handler().(*people); ok {
		p.begin(cfg, ln.Domain())
	}
	target := target(cfg, log)
	reloads.Go(func() {
		for range hangups {
			reload(cfg, files, ln, log)
		}
	})
	look, endLook := context.WithCancel(drain)
	var watch sync.WaitGroup
	watch.Go(func() { target.Watch(look, ln.Domain()) })
	defer watch.Wait()
	defer endLook()
	srv := httpdrain.New(target.Server(ln.Domain()))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(publish.Visitors(ln)) }()

	err = announce(drain, cfg, ln, target)
	if err == nil {
		select {
		case err = <-served:
		case <-drain.Done():
		}
	}
	end, cancel := context.WithTimeout(cut, cfg.DrainTimeout)
	defer cancel()
	defer cli.TellDrain(log, cfg.DrainTimeout, ln.Visitors)()
	ends := served
	if err != nil {
		cancel() // nothing is served any more
		ends = nil
	}
	if cutOff := finish(end, ln, srv, ends); cutOff != nil && err == nil {
		log.Warn("visitors were cut off", "err", cli.CutReason(cutOff, cfg.DrainTimeout))
	}
	return finalError(err, cfg.Token != "")
}

// built refuses what is not built yet.
func built(cfg *config.Remote) error {
	s := cfg.Services[0]
	if len(s.Domains) > 0 {
		cfg.Domain = s.Domains[0]
	}
	if len(cfg.Services) > 1 || len(s.Domains)+len(s.Words) > 1 || s.Raw != nil || len(s.Routes) > 1 || s.Routes[0].Local.Kind != config.LocalHTTP ||
		len(s.Words) > 0 && s.Words[0] != "" || len(s.ALPN)+len(s.Gates) > 0 || len(s.Relays) > 0 {
		return errors.New("only one name and one HTTP service are supported yet")
	}
	return nil
}

// prepare makes what a configuration says, before anything is dialled. An error is a
// mistake in the configuration.
func prepare(cfg *config.Remote, warnings []config.Warning) (log *slog.Logger, files *acme.Files, rc remote.Config, err error) {
	if log, err = logger(cfg); err != nil {
		return nil, nil, rc, err
	}
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key, hint.Attr(w.Hints))
	}
	budget.LimitRuntime()
	useDNS(cfg.DNS)
	if files, err = certFiles(cfg, log); err != nil {
		return nil, nil, rc, err
	}
	rc, err = listenConfig(cfg, files, log)
	return log, files, rc, err
}

// target is the local service of a configuration.
func target(cfg *config.Remote, log *slog.Logger) *publish.Target {
	r := cfg.Services[0].Routes[0]
	return &publish.Target{
		URL: r.Local.URL, Network: r.Local.Network, Addresses: r.Local.Addresses(), Insecure: r.Local.Insecure, H2C: r.Local.H2C,
		HostHeader: r.HostHeader, TrustPrivateAddresses: cfg.TrustPrivateAddresses,
		Logger: log,
	}
}

// finish ends what is served in good order, until ctx ends, and returns why visitors
// were cut, if they were. Served gets what Serve of srv returns; with nil that is not
// waited for.
//
// The listener cuts, and not the server, whose Close would end the answers that are
// under way as if they were whole.
func finish(ctx context.Context, ln *remote.Listener, srv *httpdrain.Server, served <-chan error) error {
	defer srv.Close()
	gone := make(chan error, 1)
	go func() { gone <- ln.Shutdown(ctx) }()
	if served != nil {
		<-served // by now it has taken the visitors that were on their way
	}
	srv.Shutdown(ctx)
	return <-gone
}

// logger returns the log on stderr: sentences where a person at a terminal has
// not asked for a log, the log elsewhere.
func logger(cfg *config.Remote) (*slog.Logger, error) {
	if !cfg.LogAsked && isTerminal(os.Stderr) && isTerminal(os.Stdout) {
		return slog.New(newPeople(os.Stderr, func() int { return cli.Width(os.Stderr) })), nil
	}
	return cli.Logger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
}

// checkTimeout is how long the start screen waits for the local service.
const checkTimeout = 2 * time.Second

// announce waits until the name answers and says so on stdout.
func announce(ctx context.Context, cfg *config.Remote, ln *remote.Listener, target *publish.Target) error {
	wait := ctx
	if cfg.Wait > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, cfg.Wait)
		defer cancel()
	}
	err := ln.Wait(wait)
	switch {
	case err == nil:
		s := start{url: ln.URL(), local: cfg.Services[0].Routes[0].Local.String(), cert: ln.Certificate(), brought: cfg.Services[0].Cert != "", stateDir: cfg.StateDir}
		if isTerminal(os.Stdout) {
			check, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			s.service = target.Check(check, ln.Domain())
		}
		s.show(os.Stdout)
		return nil
	case ctx.Err() != nil: // a signal
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s does not answer after %v: %w", ln.Domain(), cfg.Wait, err)
	}
	return err
}

func listenConfig(cfg *config.Remote, files *acme.Files, log *slog.Logger) (remote.Config, error) {
	rc := remote.Config{
		Domain:         cfg.Domain,
		Service:        cfg.Services[0].Routes[0].Local.String(),
		Relays:         cfg.Relays,
		RelayAddresses: cfg.RelayAddresses,
		Replica:        cfg.Replica,
		Token:          string(cfg.Token),
		Transport:      remote.Transport(cfg.Transport),
		NoLanes:        cfg.Lanes == "off",
		Rules:          framing.Rules{Allow: cfg.Services[0].Allow, Deny: cfg.Services[0].Deny},
		StateDir:       cfg.StateDir,
		Version:        cli.Version(),
		Logger:         log,
		ACME: acme.Config{
			RSA:       cfg.KeyType == "rsa",
			Email:     cfg.ACMEEmail,
			EABKeyID:  cfg.ACMEEABKID,
			EABMACKey: string(cfg.ACMEEABHMAC),
		},
	}
	if cas := cfg.ACMECAs; len(cas) > 0 {
		rc.ACME.CA, rc.ACME.OtherCAs = cas[0], cas[1:]
	}
	if err := rc.Rules.Check(); err != nil {
		return rc, fmt.Errorf("--allow and --deny: %w", err)
	}
	var err error
	if rc.Proxy, err = proxy(string(cfg.Proxy)); err != nil {
		return rc, err
	}
	if rc.RelayRoots, err = cli.Roots("--relay-root", cfg.RelayRoot); err != nil {
		return rc, err
	}
	if rc.ACME.Roots, err = cli.Roots("--acme-root", cfg.ACMERoot); err != nil {
		return rc, err
	}
	if files != nil {
		rc.TLS = files.TLSConfig()
	}
	return rc, nil
}

// proxy returns what chooses the proxy for each URL; nil is the environment.
func proxy(s string) (func(*http.Request) (*url.URL, error), error) {
	switch s {
	case "":
		return nil, nil
	case config.NoProxy:
		return func(*http.Request) (*url.URL, error) { return nil, nil }, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("--proxy: this is no URL") // the text of err repeats it
	}
	return http.ProxyURL(u), nil
}

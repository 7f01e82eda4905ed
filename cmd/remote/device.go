package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/proxydial"
	"keystay/remote"
)

// deviceConfig is what a configuration says of the run as a whole.
func deviceConfig(cfg *config.Remote, log *slog.Logger) (remote.DeviceConfig, error) {
	dc := remote.DeviceConfig{
		Relays:         cfg.Relays,
		RelayAddresses: cfg.RelayAddresses,
		Replica:        cfg.Replica,
		Token:          string(cfg.Token),
		Transport:      remote.Transport(cfg.Transport),
		NoLanes:        cfg.Lanes == "off",
		NoSiblings:     cfg.Siblings == "off",
		NoRehearsal:    cfg.ACMERehearsal == "off",
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
		dc.ACME.CA, dc.ACME.OtherCAs = cas[0], cas[1:]
	}
	var err error
	if dc.Proxy, err = proxy(string(cfg.Proxy)); err != nil {
		return dc, err
	}
	if dc.RelayRoots, err = cli.Roots("--relay-root", cfg.RelayRoot); err != nil {
		return dc, err
	}
	dc.ACME.Roots, err = cli.Roots("--acme-root", cfg.ACMERoot)
	return dc, err
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

// dialBy returns what dials host:port as choose says: through a proxy or, where there is
// none for that address, without.
func dialBy(choose func(*http.Request) (*url.URL, error), dns string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (_ net.Conn, err error) {
		defer func() { err = asked(err, dns) }()
		through, err := choose(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
		switch {
		case err != nil:
			return nil, fmt.Errorf("choose a proxy: %w", err)
		case through != nil:
			return (&proxydial.Proxy{URL: through}).Dial(ctx, address)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

package main

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"slices"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/statement"
	"keystay/remote"
	"keystay/remote/watch/ct"
)

// ctDir is where the watch of certificate transparency keeps what it knows.
func ctDir(stateDir string) string { return filepath.Join(stateDir, "ct") }

// isCTWatched reports whether certificate transparency is watched for certificates that
// this device orders, and why not.
func isCTWatched(cfg *config.Remote) (watched bool, why string) {
	switch {
	case cfg.CT == "off":
		return false, "it is turned off"
	case cfg.CT != "auto":
		return true, ""
	case cfg.Replica:
		return false, "this is a replica, which cannot tell the keys of the others from foreign ones"
	case len(cfg.ACMECAs) > 0 && !slices.ContainsFunc(cfg.ACMECAs, ct.IsPublic):
		return false, "the CA is not known to publish its certificates"
	}
	return true, ""
}

// isCTWatchedFor is isCTWatched for one name. A certificate that was brought along says
// itself whether it is published.
func isCTWatchedFor(cfg *config.Remote, n ct.Name) (watched bool, why string) {
	if cfg.CT != "auto" || cfg.Replica || !n.Brought {
		return isCTWatched(cfg)
	}
	if n.Certificate == nil || !ct.IsLogged(n.Certificate) {
		return false, "its certificate does not say that it is published"
	}
	return true, ""
}

// monitor is the monitor that is asked.
func monitor(cfg *config.Remote) string {
	if cfg.CT == "auto" || cfg.CT == "off" {
		return ct.CertSpotter
	}
	return cfg.CT
}

// watchCT looks in certificate transparency for certificates of the names with other
// keys, until ctx ends.
func (p *process) watchCT(ctx context.Context) {
	cfg := p.now()
	if watched, why := isCTWatched(cfg); watched {
		p.log.Info("watching certificate transparency", "monitor", monitor(cfg))
	} else {
		p.log.Info("not watching certificate transparency", "why", why)
		if cfg.CT == "off" || cfg.Replica {
			return
		}
	}
	choose, err := proxy(string(cfg.Proxy))
	if err != nil {
		return // which the start has found
	}
	keys := acme.OpenKeys(remote.ACMEDir(cfg.StateDir))
	ct.New(ct.Config{
		URL: monitor(cfg), Dir: ctDir(cfg.StateDir), Proxy: choose, Logger: p.log,
		Names: func() []ct.Name { return p.namesInCT(keys) },
		Known: keys.Find, Begun: keys.Since,
		Found: p.foundInCT,
	}).Run(ctx)
}

// namesInCT returns the names that are watched. It notes the keys of certificates that
// were brought along, which nobody else does.
func (p *process) namesInCT(keys *acme.Keys) (all []ct.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pub := range p.names {
		n := ct.Name{Domain: pub.ln.Domain(), Certificate: pub.ln.Certificate(), Brought: pub.files != nil}
		if watched, _ := isCTWatchedFor(p.cfg, n); !watched || isPassed(pub.service) {
			continue
		}
		if n.Brought && n.Certificate != nil {
			if err := keys.Note(n.Domain, statement.KeyOf(n.Certificate)); err != nil {
				p.log.Warn("the key of a certificate is not noted", "name", n.Domain, "error", err, hint.Attr(hint.All(err)))
				continue // it would be taken for a foreign one
			}
		}
		all = append(all, n)
	}
	return all
}

// foundInCT tells of a certificate with another key than this device's.
func (p *process) foundInCT(f ct.Finding) {
	attrs := []any{"name", f.Name, "key", "sha256:" + hex.EncodeToString(f.Key[:]), "issuer", f.Certificate.Issuer.String(),
		"serial", f.Certificate.SerialNumber.Text(16), "not_before", f.Certificate.NotBefore, "not_after", f.Certificate.NotAfter,
		"id", f.ID, "names", f.Certificate.DNSNames}
	file := filepath.Join(remote.ACMEDir(p.now().StateDir), "keys")
	if f.Old {
		p.log.Warn("a certificate from before this device kept its keys has a key that it does not know", append(attrs, hint.Attr(hint.CTOld.With("FILE", file)))...)
		return
	}
	p.log.Error("intercepted: certificate transparency has a certificate with a key that is not this device's", append(attrs, hint.Attr(hint.CTForeign.With("FILE", file)))...)
}

package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/statement"
	"keystay/remote"
	"keystay/remote/watch"
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

// ctProxy chooses the proxy for the monitor: the first that the watch looks through, or
// that of all else.
func ctProxy(cfg *config.Remote) (func(*http.Request) (*url.URL, error), error) {
	if len(cfg.ProbeProxies) > 0 {
		return proxy(string(cfg.ProbeProxies[0]))
	}
	return proxy(string(cfg.Proxy))
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
	choose, err := ctProxy(cfg)
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
	cert := f.Certificate
	key := hex.EncodeToString(f.Key[:])
	if f.Old {
		file := filepath.Join(remote.ACMEDir(p.now().StateDir), "keys")
		p.log.Warn("a certificate from before this device kept its keys has a key that it does not know", "name", f.Name, "key_sha256", key,
			"issuer", cert.Issuer.String(), "serial", cert.SerialNumber.Text(16), "not_before", cert.NotBefore, "not_after", cert.NotAfter, "id", f.ID,
			hint.Attr(hint.CTOld.With("FILE", file)))
		return
	}
	p.lookout.alarms.Raise(watch.Alarm{
		Name: f.Name, Seen: watch.CT, Where: monitor(p.now()), Key: f.Key, Chain: [][]byte{cert.Raw}, Time: time.Now(),
		Text: fmt.Sprintf("certificate transparency has a certificate for the name (issuance %s) by %s from %s with a key that this device never had", f.ID, cert.Issuer, cert.NotBefore.UTC().Format(time.DateOnly)),
	})
}

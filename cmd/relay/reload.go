package main

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/relay/names"
)

// reload reads again what can change while the relay runs: the files of its
// certificate and of its tokens, and the limits. What cannot be used leaves what is
// in use.
func (p *process) reload() {
	something := p.cert.reload()
	something = p.reloadLimits() || something
	if len(p.cfg.Tokens) > 0 {
		something = true
		list, warnings, err := p.cfg.ReadTokens()
		var wrong config.Errors
		switch {
		case errors.As(err, &wrong):
			for _, e := range wrong {
				p.log.Error("the tokens are not reloaded; those from before are in use", "err", e.Message, "key", e.Key, hint.Attr(e.Hints))
			}
		case err != nil:
			p.log.Error("the tokens are not reloaded; those from before are in use", "err", err)
		default:
			warn(p.log, warnings)
			p.srv.Names.SetRules(rules(p.cfg, list))
			p.log.Info("tokens reloaded", "tokens", len(list))
		}
	}
	if !something {
		p.log.Info("SIGHUP: there is nothing to reload; all of the configuration but its limits is read at the start")
	}
}

// reloadLimits takes up what the configuration says below limits by now, if that is
// something else than before. It reports whether it has logged something.
func (p *process) reloadLimits() bool {
	if p.load == nil {
		return false
	}
	cfg, _, err := p.load()
	var wrong config.Errors
	if errors.As(err, &wrong) {
		said := false
		for _, e := range wrong {
			if strings.HasPrefix(e.Key, "tokens[") { // reload says that itself
				continue
			}
			said = true
			p.log.Error("the limits are not reloaded; those from before are in use", "err", e.Message, "key", e.Key, "line", e.Line, hint.Attr(e.Hints))
		}
		return said
	}
	if err != nil {
		p.log.Error("the limits are not reloaded; those from before are in use", "err", err)
		return true
	}
	if reflect.DeepEqual(cfg.Limits, p.limits) {
		return false
	}
	p.limits, p.cfg.Limits.Identity.Names = cfg.Limits, cfg.Limits.Identity.Names
	p.srv.SetLimits(limitsOf(cfg.Limits))
	r := p.srv.Names.InForce()
	r.NamesPerIdentity = cfg.Limits.Identity.Names
	p.srv.Names.SetRules(r)
	p.log.Info("limits reloaded")
	return true
}

// warn logs what whoever runs the relay should know of the configuration.
func warn(log *slog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key, hint.Attr(w.Hints))
	}
}

// rules are what decides about names.
func rules(cfg *config.Relay, list []config.Token) names.Rules {
	n := cfg.Names
	keyNames := names.Policy(n.KeyNames)
	if n.KeyNames == "off" {
		keyNames = names.Closed
	}
	return names.Rules{
		Policy:              names.Policy(n.Policy),
		Tokens:              tokens(list),
		KeyNames:            keyNames,
		Reserved:            n.Reserved,
		ExpireUnused:        n.ExpireUnused,
		CertificatesPerWeek: n.CertificatesPerWeek,
		NamesPerIdentity:    cfg.Limits.Identity.Names,
		NoDomains:           !n.CustomDomains,
	}
}

func tokens(from []config.Token) []names.Token {
	list := make([]names.Token, len(from))
	for i, t := range from {
		list[i] = names.Token{Secret: string(t.Secret), Names: t.Names}
	}
	return list
}

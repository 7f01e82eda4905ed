package main

import (
	"errors"
	"log/slog"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/relay/names"
)

// reload reads again what can change while the relay runs: the files of its
// certificate and of its tokens. What cannot be used leaves what is in use.
func (p *process) reload() {
	something := p.cert.reload()
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
			p.srv.Names.SetRules(rules(p.cfg.Names, list))
			p.log.Info("tokens reloaded", "tokens", len(list))
		}
	}
	if !something {
		p.log.Info("SIGHUP: there is nothing to reload; the configuration is read at the start")
	}
}

// warn logs what whoever runs the relay should know of the configuration.
func warn(log *slog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.Warn(w.Message, "key", w.Key, hint.Attr(w.Hints))
	}
}

// rules are what decides about names.
func rules(n config.Names, list []config.Token) names.Rules {
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
	}
}

func tokens(from []config.Token) []names.Token {
	list := make([]names.Token, len(from))
	for i, t := range from {
		list[i] = names.Token{Secret: string(t.Secret), Names: t.Names}
	}
	return list
}

package main

import (
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
		list, err := p.cfg.ReadTokens()
		if err != nil {
			p.log.Error("the tokens are not reloaded; those from before are in use", "err", err, hint.Attr(hint.All(err)))
		} else {
			p.srv.Names.SetTokens(tokens(list))
			p.log.Info("tokens reloaded", "tokens", len(list))
		}
	}
	if !something {
		p.log.Info("SIGHUP: there is nothing to reload; the configuration is read at the start")
	}
}

func tokens(from []config.Token) []names.Token {
	list := make([]names.Token, len(from))
	for i, t := range from {
		list[i] = names.Token{Secret: string(t.Secret), Names: t.Names}
	}
	return list
}

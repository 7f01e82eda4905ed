package main

import (
	"slices"
	"strconv"
	"strings"

	"keystay/config"
	"keystay/internal/hostname"
	"keystay/relay"
	"keystay/relay/names"
)

// frontOf is what stands before the relay, and beside it, as package relay has it.
func frontOf(cfg *config.Relay) relay.Front {
	f := relay.Front{Proxies: cfg.ProxyProtocol.From, Fallback: relay.Fixed{
		To: cfg.Fallback.To, HTTP: cfg.Fallback.HTTP, ProxyProtocol: version(cfg.Fallback.ProxyProtocol)}}
	for _, s := range cfg.Static {
		f.Static = append(f.Static, relay.Fixed{Name: s.Name, To: s.To, HTTP: s.HTTP, ProxyProtocol: version(s.ProxyProtocol)})
	}
	return f
}

// siblingsOf are the relay's siblings, as package relay has them.
func siblingsOf(cfg *config.Relay) (list []relay.Sibling) {
	for _, s := range cfg.Siblings {
		list = append(list, relay.Sibling{Name: s.Name, Dial: s.Dial, From: s.Addresses})
	}
	return list
}

// version is a version of the PROXY protocol that config has checked.
func version(s string) int {
	n, _ := strconv.Atoi(s) // empty is 0
	return n
}

// staticNames are the names that are the operator's own.
func staticNames(cfg *config.Relay) (list []string) {
	for _, s := range cfg.Static {
		list = append(list, s.Name)
	}
	return list
}

// cutStatic tells devices that they have lost names which are the operator's own from
// now on.
func (p *process) cutStatic(was, now *config.Relay) {
	old, fresh := staticNames(was), staticNames(now)
	if slices.Equal(old, fresh) {
		return
	}
	for _, name := range p.srv.Served() {
		if covers(fresh, name) && !covers(old, name) {
			p.srv.Cut(relay.Cut{Name: name, Why: names.Denied{Code: names.DeniedTaken, Text: names.Served}})
		}
	}
}

// covers reports whether a name is one of the operator's own.
func covers(static []string, name string) bool {
	return slices.ContainsFunc(static, func(s string) bool {
		base, all := strings.CutPrefix(s, "*.")
		return name == s || all && hostname.IsBelow(name, base)
	})
}

package main

import (
	"fmt"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/remote/publish/gate"
)

// gate makes the gate in front of name, one of the service's, or returns nil.
func (m *maker) gate(s config.Service, name string) (*gate.Gate, error) {
	if len(s.Gates) == 0 {
		return nil, nil
	}
	if m.store == nil {
		store, err := gate.Open(m.stateDir)
		if err != nil {
			return nil, err
		}
		m.store = store
		for _, strange := range store.Strange() {
			m.log.Warn(strange.Error(), hint.Attr(hint.All(strange)))
		}
	}
	c := gate.Config{Name: name, Store: m.store, Logger: m.log}
	for i, g := range s.Gates {
		rule, err := gateRule(g)
		if err != nil {
			return nil, within(fmt.Sprintf("gates[%d]", i), err)
		}
		c.Rules = append(c.Rules, rule)
	}
	return gate.New(c)
}

// gateRule reads the files of a gate.
func gateRule(g config.Gate) (r gate.Rule, err error) {
	r = gate.Rule{Paths: g.Paths, Links: g.Links, Addresses: g.Addresses, TrustedAddresses: g.TrustedAddresses, Header: g.Header}
	if len(g.Passwords) > 0 || g.PasswordFile != "" {
		var text []byte
		if g.PasswordFile != "" { // first, so that its lines are counted
			if text, err = ownfile.Read(g.PasswordFile); err != nil {
				return r, within("password_file", ownfile.Explain(err, g.PasswordFile))
			}
		}
		for _, line := range g.Passwords {
			if len(text) > 0 {
				text = append(text, '\n')
			}
			text = append(text, line...)
		}
		if r.Passwords, err = gate.ParsePasswords(text); err != nil {
			if g.PasswordFile == "" {
				return r, within("passwords", err)
			}
			return r, within("password_file", inFile(g.PasswordFile, err))
		}
	}
	if g.ClientCA != "" {
		text, err := ownfile.Read(g.ClientCA)
		if err != nil {
			return r, within("client_ca", ownfile.Explain(err, g.ClientCA))
		}
		if form := ownfile.OtherForm(text, g.ClientCA, false); form != nil {
			return r, within("client_ca", fmt.Errorf("%s %w", g.ClientCA, form))
		}
		if r.ClientCA, err = gate.ParseCA(text); err != nil {
			return r, within("client_ca", inFile(g.ClientCA, err))
		}
	}
	if o := g.OIDC; o != nil {
		r.OIDC = &gate.OIDC{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: string(o.ClientSecret), Groups: o.Groups, Emails: o.Emails, Scopes: o.Scopes}
	}
	return r, nil
}

// inFile says in which file something is wrong.
func inFile(file string, err error) error {
	return fmt.Errorf("%s: %w", file, err)
}

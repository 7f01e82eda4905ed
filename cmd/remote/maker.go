package main

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"keystay/config"
	"keystay/remote/publish"
	"keystay/remote/publish/folder"
	"keystay/remote/publish/gate"
	"keystay/remote/publish/inspect"
	"keystay/remote/publish/raw"
)

// A maker makes what serves the visitors of a name out of what the configuration says.
// The same local service is made once, for all names and for later configurations, so
// that it keeps its connections.
type maker struct {
	log     *slog.Logger
	private bool // services are told private addresses too
	budgets *publish.Budgets
	counts  *requestCounts // nil where requests are not counted

	stateDir string        // where gates keep what they keep; empty is nowhere
	store    *gate.Store   // made when there is a gate
	never    *folder.Never // the same folder, of which no other one serves anything, until the end of the process; nil is none

	inspector *inspect.Inspector // nil where requests are not inspected

	targets map[string]*publish.Target
	folders map[string]*folder.Folder
}

func newMaker(cfg *config.Remote, log *slog.Logger) *maker {
	return &maker{log: log, private: cfg.TrustPrivateAddresses, budgets: publish.NewBudgets(0),
		targets: make(map[string]*publish.Target), folders: make(map[string]*folder.Folder)}
}

// A front is what serves the visitors of a name.
type front struct {
	site      publish.SiteConfig // without routes where raw serves
	raw       *raw.Target        // nil where the site serves
	others    []*raw.Target      // for the rules of protocols
	protocols protocols
	clientCAs *x509.CertPool // nil where no certificate is asked for
}

// nobody is a name to try a service with whose own is not known yet.
const nobody = "name.invalid"

// trial makes the fronts of all services for no name, and returns what is wrong.
func (m *maker) trial(services []config.Service) error {
	for i, s := range services {
		name := nobody
		if len(s.Domains) > 0 {
			name = s.Domains[0]
		}
		if _, err := m.front(s, name); err != nil {
			return fmt.Errorf("services[%d]: %w", i, within(fmt.Sprintf("services[%d]", i), err))
		}
	}
	return nil
}

// front makes what serves the visitors of name, one of the service's.
func (m *maker) front(s config.Service, name string) (f *front, err error) {
	if err := rules(s).Check(); err != nil {
		return nil, fmt.Errorf("allow and deny: %w", err)
	}
	f = &front{protocols: newProtocols(s)}
	for _, p := range s.ALPN {
		f.others = append(f.others, m.raw(p.Local, s, name))
	}
	if s.Raw != nil {
		f.raw = m.raw(*s.Raw, s, name)
		return f, nil
	}
	f.site.Budgets, f.site.Observer = m.budgets, m.counts.observer()
	if m.inspector != nil {
		f.site.Inspect = func(next http.Handler) http.Handler { return m.inspector.Wrap(name, next) }
	}
	for _, r := range s.Routes {
		route := publish.Route{
			Path: r.Path, Strip: r.Strip,
			Request: publish.HeaderChanges(r.Request), Response: publish.HeaderChanges(r.Response),
			ConnectTimeout: r.ConnectTimeout, AnswerTimeout: r.AnswerTimeout,
			Health: publish.Health{Path: r.Health.Path, Every: r.Health.Every},
		}
		if r.Local.Kind == config.LocalHTTP {
			route.Target = m.target(r)
		} else if route.Handler, err = m.handler(r); err != nil {
			return nil, err
		}
		f.site.Routes = append(f.site.Routes, route)
	}
	g, err := m.gate(s, name)
	if err != nil {
		return nil, err
	}
	if g != nil {
		f.site.Gate, f.clientCAs = g.Wrap, g.ClientCAs()
	}
	return f, f.site.Check()
}

// target returns the HTTP service of a route.
func (m *maker) target(r config.Route) *publish.Target {
	l := r.Local
	key := fmt.Sprint(l, l.Addresses(), r.HostHeader)
	if m.targets[key] == nil {
		m.targets[key] = &publish.Target{
			URL: l.URL, Network: l.Network, Addresses: l.Addresses(), Insecure: l.Insecure, H2C: l.H2C,
			HostHeader: r.HostHeader, TrustPrivateAddresses: m.private, Logger: m.log,
		}
	}
	return m.targets[key]
}

// handler returns what answers on a route without an HTTP service.
func (m *maker) handler(r config.Route) (http.Handler, error) {
	switch r.Local.Kind {
	case config.LocalRedirect:
		return publish.Redirect(r.Local.URL), nil
	case config.LocalText:
		return publish.Text(r.Local.Text), nil
	}
	key := fmt.Sprint(r.Listing, r.SPA, r.Local.Folder)
	if m.folders[key] == nil {
		f, err := folder.Open(r.Local.Folder, folder.Options{Listing: r.Listing, SPA: r.SPA, Never: m.never, Logger: m.log})
		if err != nil {
			return nil, err
		}
		m.folders[key] = f
	}
	return m.folders[key], nil
}

// raw returns a service that gets connections as they are.
func (m *maker) raw(l config.Local, s config.Service, name string) *raw.Target {
	if isPort(s) {
		name = "" // there is none: the header says to which port a visitor came
	}
	return &raw.Target{
		TLS: l.Kind == config.LocalTLS, Network: l.Network, Addresses: l.Addresses(), Name: name,
		ProxyProtocol: s.ProxyProtocol, TrustPrivateAddresses: m.private, Logger: m.log,
	}
}

// anyProtocol stands for all protocols that are not named.
const anyProtocol = "*"

// protocols are which protocol is agreed on with a visitor, and where it leads.
type protocols struct {
	raw.Protocols
	rest int // the rule for visitors who offer nothing that is named, from 1, or 0
}

func newProtocols(s config.Service) protocols {
	p := protocols{Protocols: raw.Protocols{Web: s.Raw == nil}}
	for i, a := range s.ALPN {
		if slices.Contains(a.Names, anyProtocol) {
			p.rest = i + 1
		}
		p.Rules = append(p.Rules, slices.DeleteFunc(slices.Clone(a.Names), func(name string) bool { return name == anyProtocol }))
	}
	return p
}

// Choose is that of raw.Protocols.
func (p protocols) Choose(offered []string) (protocol string, ok bool) {
	if protocol, ok = p.Protocols.Choose(offered); ok || p.rest == 0 {
		return protocol, ok
	}
	return raw.Protocols{}.Choose(offered)
}

// Service is that of raw.Protocols.
func (p protocols) Service(protocol string) int {
	at := p.Protocols.Service(protocol)
	if at == 0 && p.rest > 0 && (!p.Web || protocol != "h2" && protocol != "http/1.1") {
		return p.rest
	}
	return at
}

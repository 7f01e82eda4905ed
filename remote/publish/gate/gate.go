package gate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"keystay/internal/hostname"
)

// A Config is the gate of one public name.
type Config struct {
	// Name is the public name, in normal form.
	Name string

	// Store keeps what has to be kept between starts. It is not nil.
	Store *Store

	// Rules say which paths are for which visitors. Each path is in one of them at
	// most. There may be none: then everything is open.
	Rules []Rule

	// Logger hears that somebody has signed in, and of a provider that does not answer; nil
	// discards. It is told nothing of a visitor, not its name either.
	Logger *slog.Logger
}

// A Rule says which visitors get to some paths. Of Passwords, Links, ClientCA and
// OIDC, each that is set is a way to sign in, and any one of them suffices.
type Rule struct {
	// Paths are what the rule is for: each is a path, decoded, that begins with a
	// slash, and stands for itself and all below it. None is all paths. The rule
	// with the longest path decides; where services may disagree about case, each
	// rule that may be meant does.
	Paths []string

	// Passwords are users with their passwords; nil is none.
	Passwords *Passwords

	// Links lets in those who have opened a link of Store.NewLink for the name, until
	// the link ends.
	Links bool

	// Addresses are where visitors may come from at all; empty is everywhere.
	// Alone they are the whole gate. An address is the relay's word.
	Addresses []netip.Prefix

	// TrustedAddresses are where visitors come from that need not sign in.
	TrustedAddresses []netip.Prefix

	// ClientCA are CAs whose client certificates let in; see ParseCA.
	ClientCA []*x509.Certificate

	// OIDC is a provider of OpenID Connect whose users may sign in; nil is none.
	OIDC *OIDC

	// Header tells services the user's name as X-Forwarded-User, and where they are
	// known the e-mail address as X-Forwarded-Email and groups as
	// X-Forwarded-Groups. Else they are told nothing.
	Header bool
}

// A Gate stands in front of the services of one name. It may be used by many
// requests at once.
type Gate struct {
	name   string
	store  *Store
	log    *slog.Logger
	rules  []*rule
	byPath bool // a rule is for some paths alone
}

// New makes a gate. An error says which of the rules is wrong, counted from 1.
func New(c Config) (*Gate, error) {
	g := &Gate{name: c.Name, store: c.Store, log: c.Logger}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if name, err := hostname.Normalize([]byte(c.Name)); err != nil || name != c.Name {
		return nil, fmt.Errorf("gate: %q is no host name in normal form", c.Name)
	}
	if c.Store == nil {
		return nil, errors.New("gate: no Store")
	}
	taken := make(map[string]bool)
	for i, r := range c.Rules {
		made, err := g.newRule(r)
		if err != nil {
			return nil, fmt.Errorf("gate %d of %s: %w", i+1, c.Name, err)
		}
		for _, p := range made.paths {
			if taken[p.exact] {
				return nil, fmt.Errorf("gate %d of %s: another one is for %s too", i+1, c.Name, p.exact)
			}
			taken[p.exact] = true
			g.byPath = g.byPath || p.exact != "/"
		}
		g.rules = append(g.rules, made)
	}
	return g, nil
}

// ClientCAs returns the CAs of all rules, for tls.Config.ClientCAs, or nil where no
// client certificate is asked for. A handshake should ask for a certificate and not
// verify it (tls.RequestClientCert): the gate does, with each request, since only
// some paths may need one.
func (g *Gate) ClientCAs() *x509.CertPool {
	var all *x509.CertPool
	for _, r := range g.rules {
		for _, ca := range r.ClientCA {
			if all == nil {
				all = x509.NewCertPool()
			}
			all.AddCert(ca)
		}
	}
	return all
}

// Wrap returns next behind the gate. The requests that it gets have no cookies of the
// gate, no password that was for the gate, and no fields that say which user asks but
// the gate's own. From now on this gate is in force for its name, and an earlier one of
// the same Store is not any more: a request that the earlier one has let in and that
// runs on, such as a WebSocket, ends unless a rule for the same paths would let it in.
//
// Everything below /.well-known/keystay/ is the gate's own and never gets to next.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	g.store.sessions.endOthers(g)
	if len(g.rules) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(next, w, r) })
}

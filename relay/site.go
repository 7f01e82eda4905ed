package relay

import (
	"cmp"
	"encoding/json"
	"net/http"

	"keystay/framing"
	"keystay/internal/hostname"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// wellKnown is where programs learn what a relay is.
const wellKnown = "/.well-known/keystay.json"

// about is what a relay says about itself in public.
type about struct {
	Keystay    int          `json:"keystay"` // version of this document
	Domain     string       `json:"domain"`
	PublicPort int          `json:"public_port"`
	Policy     names.Policy `json:"policy"`    // for new names
	KeyNames   names.Policy `json:"key_names"` // for names made from a device's key
	Transports []string     `json:"transports"`
	Abuse      string       `json:"abuse"`
	Version    string       `json:"version"`

	// CustomDomains says that a device may have domains of its own here, which it
	// proves by DNS.
	CustomDomains bool `json:"custom_domains"`

	// TCPPorts are the public TCP ports that are given out, as in "20000-20999".
	TCPPorts string `json:"tcp_ports,omitempty"`

	// Siblings are the relays of other owners that visitors of a device may be passed on
	// to while it is away here, where it has named them.
	Siblings []string `json:"siblings,omitempty"`
}

// site is the small site on the relay's own name.
type site struct {
	domain, abuse, version string // as the server's
	names                  *names.Names
	siblings               func() []string       // their names
	sockets                *sockets              // for the port of URLs
	link                   http.HandlerFunc      // takes a link over a WebSocket
	words                  func() *string        // of the operator, see Server.SetWords
	limits                 func() *limits.Config // those in force, or nil for the defaults
}

func (s *site) about() about {
	rules := s.names.InForce()
	return about{Keystay: 1, Domain: s.domain, PublicPort: s.sockets.publicPort(),
		Policy: cmp.Or(rules.Policy, names.Open), KeyNames: cmp.Or(rules.KeyNames, names.Open),
		Transports: []string{"tls", "wss"}, Abuse: s.abuse, Version: s.version,
		CustomDomains: s.names.Prove != nil && !rules.NoDomains, TCPPorts: s.names.Ports.String(), Siblings: s.siblings()}
}

// handler answers the requests for the site.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wellKnown, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		json.NewEncoder(w).Encode(s.about())
	})
	mux.HandleFunc("GET "+framing.WebSocketPath, s.link)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.welcome(w) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { noSuchPage.Write(w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, err := hostname.OfHeader(r.Host); err != nil || host != s.domain {
			otherConnection.Write(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

package relay

import (
	"encoding/json"
	"net/http"

	"keystay/framing"
	"keystay/internal/hostname"
	"keystay/relay/names"
)

// wellKnown is where programs learn what a relay is.
const wellKnown = "/.well-known/keystay.json"

// about is what a relay says about itself in public.
type about struct {
	Keystay    int          `json:"keystay"` // version of this document
	Domain     string       `json:"domain"`
	PublicPort int          `json:"public_port"`
	Policy     names.Policy `json:"policy"`
	Transports []string     `json:"transports"`
	Abuse      string       `json:"abuse"`
	Version    string       `json:"version"`
}

func (s *Server) about() about {
	policy := s.Names.Policy
	if policy == "" {
		policy = names.Open
	}
	return about{Keystay: 1, Domain: s.Domain, PublicPort: s.sockets.publicPort(), Policy: policy,
		Transports: []string{"tls", "wss"}, Abuse: s.Abuse, Version: s.Version}
}

// siteHandler is the small site on the relay's own name.
func (s *Server) siteHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wellKnown, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		json.NewEncoder(w).Encode(s.about())
	})
	mux.HandleFunc("GET "+framing.WebSocketPath, s.serveWebSocket)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.about().write(w) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { noSuchPage.Write(w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, err := hostname.OfHeader(r.Host); err != nil || host != s.Domain {
			otherConnection.Write(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

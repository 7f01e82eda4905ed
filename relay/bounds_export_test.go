package relay

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsHandler is what /metrics shows.
func (s *Server) MetricsHandler() http.Handler {
	s.init()
	return promhttp.HandlerFor(s.metrics(func() error { return nil }), promhttp.HandlerOpts{})
}

// CountedConnections is how many connections count for their addresses.
func (s *Server) CountedConnections() int { return s.bounds.addresses.Connections() }

// NamesKept is how many names the sessions have, each counted.
func (s *Server) NamesKept() (n int) {
	for _, sess := range s.presence.all(nil) {
		n += len(sess.granted())
	}
	return n
}

package relay

import "github.com/prometheus/client_golang/prometheus"

// Metrics is what the operator's address shows.
func (s *Server) Metrics() *prometheus.Registry {
	s.init()
	return s.metrics(nil)
}

package relay

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"keystay/relay/limits"
)

// stats counts what the relay does. It holds no names.
type stats struct {
	visitors gauge
	static   gauge        // visitors of the operator's own servers
	fallback gauge        // the same, by Front.Fallback
	refused  atomic.Int64 // connections that led nowhere
	lanes    atomic.Int64 // lanes that were bound to a visitor's stream
}

// A gauge counts what is under way, and lets one wait for none.
type gauge struct {
	mu    sync.Mutex
	now   int
	total int64
	zero  chan struct{} // closed at zero; nil when nobody waits
}

func (g *gauge) add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.total++
}

func (g *gauge) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now--; g.now == 0 && g.zero != nil {
		close(g.zero)
		g.zero = nil
	}
}

// wait returns when nothing is under way, or ctx's error.
func (g *gauge) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.now == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.zero == nil {
		g.zero = make(chan struct{})
	}
	zero := g.zero
	g.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gauge) current() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gauge) sum() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

// metrics is a registry of its own, so that a program with several servers, or
// with metrics of its own, can use this package.
func (s *Server) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	counter := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f))
	}
	for _, r := range limits.Reasons() {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "keystay_limited_total",
			Help:        "How often each limit was met: connections, links and claims that were refused, hellos that went, and streams that had to wait for bandwidth.",
			ConstLabels: prometheus.Labels{"limit": r.String()}}, func() float64 { return float64(s.bounds.met(r)) }))
	}
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.fixedMetrics(reg)
	gauge("keystay_sessions", "Links of remotes that are up; a remote keeps two.", func() float64 { n, _ := s.presence.count(); return float64(n) })
	gauge("keystay_issuance_left", "How many new names may order their first certificate at once; the CA's limit for the zone. Without names.certificates_per_week it is 0.", func() float64 {
		i, _ := s.Names.Issuance()
		return float64(i.Left)
	})
	gauge("keystay_issuance_waiting", "How many new names wait for their turn at the CA.", func() float64 {
		i, _ := s.Names.Issuance()
		return float64(i.Waiting)
	})
	gauge("keystay_names", "Names that lead to a connected remote.", func() float64 { _, n := s.presence.count(); return float64(n) })
	gauge("keystay_visitors", "Visitors that are being served.", func() float64 { return float64(s.stats.visitors.current()) })
	counter("keystay_visitors_total", "Visitors that reached a remote.", func() float64 { return float64(s.stats.visitors.sum()) })
	counter("keystay_lanes_total", "Visitors whose bytes moved to a connection of their own.", func() float64 { return float64(s.stats.lanes.Load()) })
	counter("keystay_refused_total", "Connections that led nowhere.", func() float64 { return float64(s.stats.refused.Load()) })
	counter("keystay_refused_by_rule_total", "Visitors that the rules of a name's device have refused, on port 80 too.", func() float64 { return float64(s.router.unwanted.Load()) })
	counter("keystay_panics_total", "Mistakes in this program that have ended a connection; the log has the first of each kind.", func() float64 { return float64(s.panics.Total()) })
	counter("keystay_no_memory_total", "Links and visitors that were refused, or let go before they had an owner, for want of memory.", func() float64 { return float64(s.shares.refused.Load()) })
	gauge("keystay_counted_connections", "Connections of visitors and browsers that count for their addresses.", func() float64 { return float64(s.bounds.addresses.Connections()) })
	gauge("keystay_memory_bytes", "Memory that links, unfinished hellos and waiting visitors have taken.", func() float64 { used, _ := s.shares.held(); return float64(used) })
	gauge("keystay_memory_limit_bytes", "What they may take.", func() float64 { _, limit := s.shares.held(); return float64(limit) })
	return reg
}

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"keystay/internal/httpdrain"
)

// ServeAdmin serves the operator's read-only address on ln: /metrics in the
// Prometheus format, /healthz, and /readyz, which says what ready returns. The
// metrics carry no names. It blocks like Serve.
func (s *Server) ServeAdmin(ln net.Listener, ready func() error) error {
	s.init()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := ready()
		if s.stopping() {
			err = errors.New("shutting down")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics(), promhttp.HandlerOpts{}))
	srv := httpdrain.New(&http.Server{Handler: s.caught(hereOnly(ln.Addr(), mux)), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute})
	tracked, err := s.track(ln, srv.Expect)
	if err != nil {
		return ErrServerClosed
	}
	s.mu.Lock()
	s.admins = append(s.admins, srv)
	s.mu.Unlock()
	s.wg.Go(func() { <-s.ctx.Done(); srv.Close() })
	if err := srv.Serve(tracked); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ErrServerClosed
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.departure != nil
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
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge("keystay_sessions", "Links of remotes that are up; a remote keeps two.", func() float64 { n, _ := s.presence.count(); return float64(n) })
	gauge("keystay_names", "Names that lead to a connected remote.", func() float64 { _, n := s.presence.count(); return float64(n) })
	gauge("keystay_visitors", "Visitors that are being served.", func() float64 { return float64(s.stats.visitors.current()) })
	counter("keystay_visitors_total", "Visitors that reached a remote.", func() float64 { return float64(s.stats.visitors.sum()) })
	counter("keystay_lanes_total", "Visitors whose bytes moved to a connection of their own.", func() float64 { return float64(s.stats.lanes.Load()) })
	counter("keystay_refused_total", "Connections that led nowhere.", func() float64 { return float64(s.stats.refused.Load()) })
	counter("keystay_panics_total", "Mistakes in this program that have ended a connection; the log has the first of each kind.", func() float64 { return float64(s.panics.Total()) })
	counter("keystay_no_memory_total", "Links and visitors that were refused, or let go before they had an owner, for want of memory.", func() float64 { return float64(s.stats.noMemory.Load()) })
	gauge("keystay_memory_bytes", "Memory that links, unfinished hellos and waiting visitors have taken.", func() float64 {
		used, _, _ := s.unfinished.usage()
		return float64(s.memory.Used() + int64(used))
	})
	gauge("keystay_memory_limit_bytes", "What they may take.", func() float64 { return float64(s.memory.Limit() + int64(s.unfinished.limit)) })
	return reg
}

// hereOnly refuses requests for another host than this machine, on an address that
// only this machine reaches. Otherwise a page in a browser here could read the
// answers, by a name of its own that leads to 127.0.0.1 (DNS rebinding). An address
// in its place is none that a name stands for.
func hereOnly(listens net.Addr, h http.Handler) http.Handler {
	if a, ok := listens.(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return h
	}
	machine, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.TrimSuffix(host, ".")
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "" && host != "localhost" && host != strings.ToLower(machine) && err != nil {
			http.Error(w, "this address is for this machine alone: ask for it as localhost or by its address", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"keystay/internal/hint"
)

// ServeAdmin serves the operator's address on ln: /metrics in the Prometheus format,
// /healthz, and /readyz, which says what ready returns (nil is always ready), and what
// is wrong with the record of names, with what to do; everything else is AdminPage's.
// The metrics carry no names but with NamedMetrics. It blocks like Serve, and answers on
// while Shutdown waits for visitors.
func (s *Server) ServeAdmin(ln net.Listener, ready func() error) error {
	s.init()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.notReady(ready); err != nil {
			text := err.Error()
			for _, line := range hint.All(err) {
				text += "\nhint: " + line
			}
			http.Error(w, text, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if s.Profiles && isLoopback(ln.Addr()) {
		addProfiles(mux)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics(ready), promhttp.HandlerOpts{DisableCompression: true})) // a compressor holds most of a megabyte
	if s.AdminPage != nil {
		mux.Handle("/", ownHost(s.AdminHosts, s.AdminPage))
	}
	return s.web.serveAdmin(ln, s.web.server(hereOnly(ln.Addr(), s.AdminHosts, mux), maxSiteHead, time.Minute))
}

// notReady says why remotes cannot link now, or nothing. Ready is as for ServeAdmin.
func (s *Server) notReady(ready func() error) error {
	if s.sockets.stopping() {
		return errors.New("shutting down")
	}
	var err error
	if ready != nil {
		err = ready()
	}
	return errors.Join(err, s.Names.Grants.Whole())
}

// hereOnly refuses requests for another host than this machine, on an address that
// only this machine reaches. Otherwise a page in a browser here could read the
// answers, by a name of its own that leads to 127.0.0.1 (DNS rebinding). An address
// in its place is none that a name stands for.
func hereOnly(listens net.Addr, hosts []string, h http.Handler) http.Handler {
	if !isLoopback(listens) {
		return h
	}
	return ownHost(hosts, h)
}

// ownHost refuses requests for a host that is neither this machine nor one of
// hosts.
func ownHost(hosts []string, h http.Handler) http.Handler {
	machine, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.TrimSuffix(host, ".")
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "" && host != "localhost" && host != strings.ToLower(machine) && !slices.Contains(hosts, host) && err != nil {
			http.Error(w, "this address is for this machine alone: ask for it as localhost or by its address, or put the name into admin.hosts", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isLoopback reports whether only this machine reaches an address.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// addProfiles adds what shows where the process spends its time and memory. No profile
// holds a byte of a visitor. Each answer is over within the time limit of this address.
func addProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

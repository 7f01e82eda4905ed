package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/remote"
	"keystay/remote/watch"
)

// metricsTime is how long one answer may take.
const metricsTime = time.Minute

// figures are what the metrics of a run count. Without metrics there are none, and nothing
// is counted.
type figures struct {
	device   remote.Figures
	requests requestCounts
	ln       net.Listener  // on the address of the metrics
	http     *http.Server  // nil before serve
	closed   chan struct{} // nobody is answered any more
}

// openFigures opens the address of the metrics, which close closes. Without one it
// returns nil, which has nothing.
func openFigures(address string) (*figures, error) {
	if address == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, hint.NoMetrics.Error(fmt.Errorf("the metrics: %w", err))
	}
	return &figures{ln: ln, closed: make(chan struct{})}, nil
}

// counts returns the counters of requests, or nil.
func (f *figures) counts() *requestCounts {
	if f == nil {
		return nil
	}
	return &f.requests
}

// counted returns the counters of the device, or nil.
func (f *figures) counted() *remote.Figures {
	if f == nil {
		return nil
	}
	return &f.device
}

// serve answers with the metrics of p, until close.
func (f *figures) serve(p *process) {
	if f == nil {
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &deviceMetrics{p, f})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})) // a compressor holds most of a megabyte
	f.http = &http.Server{
		Handler: thisMachine(f.ln.Addr(), mux), ReadHeaderTimeout: leverTimeout, WriteTimeout: metricsTime, IdleTimeout: metricsTime,
		MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	p.log.Info("listening", "for", "metrics", "addr", f.ln.Addr().String())
	go func() {
		defer close(f.closed)
		_ = f.http.Serve(f.ln)
	}()
}

// close ends the answers, and closes the address.
func (f *figures) close() {
	if f == nil {
		return
	}
	if f.http == nil {
		_ = f.ln.Close()
		return
	}
	_ = f.http.Close()
	<-f.closed
}

// thisMachine refuses requests for another host's name on an address that only this
// machine reaches. Otherwise a page in a browser here could read the answers, by a name of
// its own that leads to 127.0.0.1 (DNS rebinding). No name stands for an address in its
// place.
func thisMachine(listens net.Addr, h http.Handler) http.Handler {
	if tcp, ok := listens.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
			http.Error(w, "this address is for this machine alone: ask for it as localhost or by its address", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// A metric is one of the device's.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

// The metrics of a device. None has a name or an address of a visitor, nor one of the
// device's names or paths.
var (
	mBuild         = metric{"build_info", "1, with the program's version and the Go that it was built with.", prometheus.GaugeValue, []string{"version", "go"}}
	mLinks         = metric{"links", "Links that are up, by relay; two are usual.", prometheus.GaugeValue, []string{"relay"}}
	mRoundTrip     = metric{"round_trip_seconds", "The last round trip of the fastest link, by relay; nothing before the first is measured.", prometheus.GaugeValue, []string{"relay"}}
	mLinksTotal    = metric{"links_total", "Links that came up: one that comes again counts again.", prometheus.CounterValue, nil}
	mVisitors      = metric{"visitors", "Connections of visitors that are open.", prometheus.GaugeValue, nil}
	mVisitorsTotal = metric{"visitors_total", "Connections that relays have led here, the CA's validations among them.", prometheus.CounterValue, nil}
	mBytes         = metric{"bytes_total", "Bytes of visitors, still encrypted, by direction and by what carried them, but those that the kernel moves between a lane and a tls:// service.", prometheus.CounterValue, []string{"direction", "carrier"}}
	mRequests      = metric{"requests_total", "Requests of visitors over HTTP that are over, by the class of their answer: 1xx are WebSockets and other switches over HTTP/1.1, none had no answer.", prometheus.CounterValue, []string{"class"}}
	mNames         = metric{"names", "Names that this device serves.", prometheus.GaugeValue, nil}
	mNamesUp       = metric{"names_up", "Names that lead visitors here and have a certificate.", prometheus.GaugeValue, nil}
	mOutside       = metric{"names_outside", "Names by what the last look from outside has found: own is nobody between.", prometheus.GaugeValue, []string{"state"}}
	mCT            = metric{"names_ct", "Names by what the watch of certificate transparency says.", prometheus.GaugeValue, []string{"state"}}
	mIntercepted   = metric{"names_intercepted", "Names that are intercepted, as remote status says.", prometheus.GaugeValue, nil}
	mExpiry        = metric{"certificate_expiry_seconds", "When the first of the certificates in use ends, in seconds since 1970; nothing while there is none.", prometheus.GaugeValue, nil}
	mMemory        = metric{"request_memory_bytes", "Memory that heads and kept bodies of requests have taken.", prometheus.GaugeValue, nil}
	mMemoryLimit   = metric{"request_memory_limit_bytes", "What they may take; beyond it requests get 503.", prometheus.GaugeValue, nil}
	mLocals        = metric{"service_connections", "Connections to local services beside the first of each visitor.", prometheus.GaugeValue, nil}
	mLocalsLimit   = metric{"service_connections_limit", "How many there may be.", prometheus.GaugeValue, nil}
	mStopping      = metric{"stopping", "1 while the remote waits for its last visitors, else 0.", prometheus.GaugeValue, nil}
	allMetrics     = []metric{mBuild, mLinks, mRoundTrip, mLinksTotal, mVisitors, mVisitorsTotal, mBytes, mRequests, mNames, mNamesUp, mOutside, mCT, mIntercepted,
		mExpiry, mMemory, mMemoryLimit, mLocals, mLocalsLimit, mStopping}
)

func (m metric) desc() *prometheus.Desc {
	return prometheus.NewDesc("keystay_remote_"+m.name, m.help, m.labels, nil)
}

// deviceMetrics are the metrics of a run. Everything is counted where it is known already,
// and asked for when somebody reads it.
type deviceMetrics struct {
	p *process
	f *figures
}

// Describe implements [prometheus.Collector].
func (*deviceMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		to <- m.desc()
	}
}

// Collect implements [prometheus.Collector].
func (d *deviceMetrics) Collect(to chan<- prometheus.Metric) {
	put := func(m metric, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
	}
	put(mBuild, 1, cli.Version(), runtime.Version())
	f := &d.f.device
	put(mLinksTotal, float64(f.Links.Load()))
	put(mVisitorsTotal, float64(f.Visitors.Load()))
	put(mBytes, float64(f.Traffic.StreamIn.Load()), "from_visitor", "stream")
	put(mBytes, float64(f.Traffic.StreamOut.Load()), "to_visitor", "stream")
	put(mBytes, float64(f.Traffic.LaneIn.Load()), "from_visitor", "lane")
	put(mBytes, float64(f.Traffic.LaneOut.Load()), "to_visitor", "lane")
	for n, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		put(mRequests, float64(d.f.requests[n].Load()), class)
	}
	budgets := d.p.maker.budgets
	used, limit := budgets.Requests()
	put(mMemory, float64(used))
	put(mMemoryLimit, float64(limit))
	used, limit = budgets.Connections()
	put(mLocals, float64(used))
	put(mLocalsLimit, float64(limit))
	d.collectStatus(d.p.status(), put)
}

// collectStatus puts what remote status shows, too.
func (d *deviceMetrics) collectStatus(s status, put func(m metric, value float64, labels ...string)) {
	put(mVisitors, float64(s.Visitors))
	put(mStopping, oneIf(s.State == stateStopping))
	links, fastest := make(map[string]int), make(map[string]float64)
	for _, l := range s.Links {
		links[l.Relay]++
		if l.RoundTrip > 0 {
			fastest[l.Relay] = min(l.RoundTrip, cmp.Or(fastest[l.Relay], l.RoundTrip))
		}
	}
	for relay, n := range links {
		put(mLinks, float64(n), relay)
	}
	for relay, ms := range fastest {
		put(mRoundTrip, ms/1000, relay)
	}
	outside, ct := map[string]int{}, map[string]int{}
	var up, intercepted int
	var first time.Time
	for _, n := range s.Names {
		outside[n.Outside.State]++
		ct[n.CT.State]++
		if n.Up {
			up++
		}
		if n.Intercepted {
			intercepted++
		}
		if c := n.Certificate; c != nil && (first.IsZero() || c.Until.Before(first)) {
			first = c.Until
		}
	}
	put(mNames, float64(len(s.Names)))
	put(mNamesUp, float64(up))
	put(mIntercepted, float64(intercepted))
	for _, state := range []string{string(watch.Own), string(watch.Intercepted), string(watch.NotRun), isPending, isOff} {
		put(mOutside, float64(outside[state]), state)
	}
	for _, state := range []string{ctClear, ctForeign, ctBlind, isPending, isOff} {
		put(mCT, float64(ct[state]), state)
	}
	if !first.IsZero() {
		put(mExpiry, float64(first.Unix()))
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

package relay

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"keystay/relay/limits"
	"keystay/relay/names"
)

// measures are the histograms of a server. Each is a native one, with a resolution of a
// tenth and 100 buckets at most, and has classic buckets beside them for what reads
// the text format.
type measures struct {
	hello prometheus.Histogram // bytes of ClientHellos
	dial  prometheus.Histogram // seconds that it took to open a stream to a remote
	first prometheus.Histogram // seconds from the whole hello to the first byte of the remote's answer
	hold  prometheus.Histogram // seconds that visitors waited for a remote
	hop   prometheus.Histogram // seconds that another node took to say yes
}

func newMeasures() *measures {
	histogram := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100})
	}
	return &measures{
		hello: histogram("keystay_hello_bytes", "How long visitors' ClientHellos were, in bytes.", 256, 512, 1024, 2048, 4096, 16384),
		dial: histogram("keystay_dial_seconds", "How long it took to bring a visitor's hello onto the way to its remote, without any wait for one that is away.",
			0.0001, 0.001, 0.01, 0.1, 1, 10),
		first: histogram("keystay_first_byte_seconds", "From a visitor's whole hello to the first byte that the remote has sent back. Known at the next scrape, or at the end of the connection.",
			0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
		hold: histogram("keystay_hold_seconds", "How long visitors waited for a remote that was away, whether it came or not.",
			0.1, 0.5, 1, 2.5, 5, 10, 30),
		hop: histogram("keystay_hop_seconds", "How long it took until another node had brought a visitor of this one to its remote.",
			0.0001, 0.001, 0.01, 0.1, 1, 10),
	}
}

// A meters is a registry that takes functions.
type meters struct{ *prometheus.Registry }

func (m meters) gauge(name, help string, f func() float64) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}

func (m meters) counter(name, help string, f func() float64) {
	m.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f))
}

// counterOf is counter for one value of a label.
func (m meters) counterOf(name, help, label, value string, f func() int64) {
	m.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help,
		ConstLabels: prometheus.Labels{label: value}}, func() float64 { return float64(f()) }))
}

// gaugeOf is gauge for one value of a label.
func (m meters) gaugeOf(name, help, label, value string, f func() float64) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help,
		ConstLabels: prometheus.Labels{label: value}}, f))
}

// metrics is a registry of its own, so that a program with several servers, or
// with metrics of its own, can use this package. Ready is as for ServeAdmin.
func (s *Server) metrics(ready func() error) *prometheus.Registry {
	m := meters{prometheus.NewRegistry()}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.MustRegister(s.measures.hello, s.measures.dial, s.measures.first, s.measures.hold, s.measures.hop, trafficMetrics{&s.traffic}, siblingMetrics{&s.siblings})
	m.addState(s, ready)
	m.addVisitors(s)
	m.addFixed(&s.stats)
	m.addRemotes(&s.presence, s.ports, &s.stats)
	m.addNodes(s.NodeCounts)
	m.addHops(&s.hops)
	m.counter("keystay_panics_total", "Mistakes in this program that have ended a connection; the log has the first of each kind.", func() float64 { return float64(s.panics.Total()) })
	m.counter("keystay_no_memory_total", "Links and visitors that were refused, or let go before they had an owner, for want of memory.", func() float64 { return float64(s.shares.refused.Load()) })
	m.counter("keystay_no_descriptors_total", "Connections that were let go as they came, so that descriptors are left.", func() float64 { return float64(s.sockets.descriptors.shed.Load()) })
	m.gauge("keystay_memory_bytes", "Memory that links, unfinished hellos and waiting visitors have taken.", func() float64 { used, _ := s.shares.held(); return float64(used) })
	m.gauge("keystay_memory_limit_bytes", "What they may take.", func() float64 { _, limit := s.shares.held(); return float64(limit) })
	for _, r := range limits.Reasons() {
		m.counterOf("keystay_limited_total", "How often each limit was met: connections, links and claims that were refused, hellos that went, and streams that had to wait for bandwidth.",
			"limit", r.String(), func() int64 { return s.bounds.met(r) })
	}
	return m.Registry
}

// addState adds what says how the relay is.
func (m meters) addState(s *Server, ready func() error) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "keystay_build_info", Help: "1, with the program's version and the Go that it was built with.",
		ConstLabels: prometheus.Labels{"version": s.Version, "go": runtime.Version()}}, func() float64 { return 1 }))
	m.gauge("keystay_ready", "1 when remotes can link, as /readyz says; else 0.", func() float64 { return oneIf(s.notReady(ready) == nil) })
	for i, state := range stateWords {
		m.gaugeOf("keystay_state", "1 for the state that the process is in: it serves, is paused while a new process takes over, drains, or has handed over.",
			"state", state, func() float64 { return oneIf(s.state() == serverState(i)) })
	}
	m.gauge("keystay_expected_names", "Names that the old process has handed over, and whose remotes are not here yet.", func() float64 { return float64(len(s.router.expected.list())) })
	m.gauge("keystay_certificate_expiry_seconds", "When the certificate of the relay's own name ends, in seconds since 1970; 0 while there is none.", func() float64 {
		if s.CertificateEnds == nil {
			return 0
		}
		if end := s.CertificateEnds(); !end.IsZero() {
			return float64(end.Unix())
		}
		return 0
	})
	m.gauge("keystay_issuance_left", "How many new names may order their first certificate at once; the CA's limit for the zone. Without names.certificates_per_week it is 0.", func() float64 {
		i, _ := s.Names.Issuance()
		return float64(i.Left)
	})
	m.gauge("keystay_issuance_waiting", "How many new names wait for their turn at the CA.", func() float64 {
		i, _ := s.Names.Issuance()
		return float64(i.Waiting)
	})
	for _, kind := range []names.BanKind{names.BanName, names.BanIdentity, names.BanAddress} {
		m.gaugeOf("keystay_bans", "Bans in force, by what they ban.", "kind", string(kind), func() float64 { return float64(s.Names.CountBans(kind)) })
	}
}

// addVisitors adds what says how visitors fare, but for their bytes.
func (m meters) addVisitors(s *Server) {
	m.counter("keystay_connections_total", "Connections that were taken on the public port: visitors, links, lanes and browsers.", func() float64 { return float64(s.sockets.routing.sum()) })
	m.gauge("keystay_counted_connections", "Connections of visitors and browsers that count for their addresses.", func() float64 { return float64(s.bounds.addresses.Connections()) })
	m.gauge("keystay_visitors", "Visitors that are being served.", func() float64 { return float64(s.stats.visitors.current()) })
	m.counter("keystay_visitors_total", "Visitors that reached a remote.", func() float64 { return float64(s.stats.visitors.sum()) })
	m.counter("keystay_lanes_total", "Visitors whose bytes moved to a connection of their own.", func() float64 { return float64(s.stats.lanes.Load()) })
	m.counter("keystay_refused_total", "Connections that led nowhere.", func() float64 { return float64(s.stats.refused.sum()) })
	for why, word := range refusedWords {
		m.counterOf("keystay_refusals_total", "Connections that led nowhere, by reason.", "reason", word, s.stats.refused[why].Load)
	}
	m.counter("keystay_refused_by_rule_total", "Visitors that the rules of a name's device have refused, on port 80 too.", func() float64 { return float64(s.router.unwanted.Load()) })
	m.gauge("keystay_holds", "Visitors that wait for a remote that is away.", func() float64 { return float64(s.router.waiters.count()) })
	for how, word := range holdWords {
		m.counterOf("keystay_holds_total", "Such waits that are over, by how: the remote came, the visitor left, the time was over, there was no place, or the relay left.",
			"outcome", word, s.router.holds[how].Load)
	}
}

// addRemotes adds what says how remotes fare.
func (m meters) addRemotes(p *presence, listened *ports, st *stats) {
	m.gauge("keystay_sessions", "Links of remotes that are up; a remote keeps two.", func() float64 { n, _ := p.count(); return float64(n) })
	m.counter("keystay_links_total", "Links of remotes that were let in.", func() float64 { return float64(st.links.Load()) })
	m.gauge("keystay_names", "Names and TCP ports that lead to a connected remote.", func() float64 { _, n := p.count(); return float64(n) })
	m.gauge("keystay_tcp_ports", "TCP ports that the relay listens on for remotes.", func() float64 { return float64(listened.count()) })
	m.gauge("keystay_spare_lanes", "Lanes that remotes have dialled and no stream uses yet.", func() float64 {
		n := 0
		for _, l := range p.links() {
			n += l.link.SpareLanes()
		}
		return float64(n)
	})
	m.counter("keystay_credit_stalls_total", "How often a visitor's bytes had to wait because its remote had given no credit for more.", func() float64 { return float64(st.stalls.Load()) })
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

package relay

import "github.com/prometheus/client_golang/prometheus"

// The metrics that one look at the traffic gives.
var (
	bytesDesc = prometheus.NewDesc("keystay_bytes_total", "Bytes of visitors, still encrypted, by direction and by what carried them.", []string{"direction", "carrier"}, nil)
	flowsDesc = prometheus.NewDesc("keystay_visitors_by_carrier", "Visitors that are being served now, by what carries their bytes: a stream of a link, a lane, or a hop to another node.", []string{"carrier"}, nil)

	nameVisitorsDesc = prometheus.NewDesc("keystay_name_visitors_total", "Visitors that reached a remote, by name; only with metrics.per_name.", []string{"name"}, nil)
	nameBytesDesc    = prometheus.NewDesc("keystay_name_bytes_total", "Bytes of visitors by name and direction; only with metrics.per_name.", []string{"name", "direction"}, nil)
)

// The values of labels.
const (
	toRemote, toVisitor = "to_remote", "to_visitor"
	onStream, onLane    = "stream", "lane"
	onHop               = "hop"
)

// trafficMetrics are the metrics of a server's traffic.
type trafficMetrics struct{ of *traffic }

// Describe implements [prometheus.Collector].
func (trafficMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bytesDesc, flowsDesc, nameVisitorsDesc, nameBytesDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m trafficMetrics) Collect(to chan<- prometheus.Metric) {
	sum, now, named := m.of.look()
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(bytesDesc, sum.streamIn, toRemote, onStream)
	counter(bytesDesc, sum.streamOut, toVisitor, onStream)
	counter(bytesDesc, sum.laneIn, toRemote, onLane)
	counter(bytesDesc, sum.laneOut, toVisitor, onLane)
	counter(bytesDesc, sum.hopIn, toRemote, onHop)
	counter(bytesDesc, sum.hopOut, toVisitor, onHop)
	to <- prometheus.MustNewConstMetric(flowsDesc, prometheus.GaugeValue, float64(now.streams), onStream)
	to <- prometheus.MustNewConstMetric(flowsDesc, prometheus.GaugeValue, float64(now.lanes), onLane)
	to <- prometheus.MustNewConstMetric(flowsDesc, prometheus.GaugeValue, float64(now.hops), onHop)
	for _, n := range named {
		counter(nameVisitorsDesc, n.visitors, n.name)
		counter(nameBytesDesc, n.carried.streamIn+n.carried.laneIn, n.name, toRemote)
		counter(nameBytesDesc, n.carried.streamOut+n.carried.laneOut, n.name, toVisitor)
	}
}

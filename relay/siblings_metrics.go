package relay

import "github.com/prometheus/client_golang/prometheus"

// The metrics of siblings. Their names are the operator's, and so are labels.
var (
	siblingNowDesc     = prometheus.NewDesc("keystay_sibling_visitors", "Visitors that are passed on now, by sibling and direction: out to it, or in from it.", []string{"sibling", "direction"}, nil)
	siblingTotalDesc   = prometheus.NewDesc("keystay_sibling_visitors_total", "Visitors that one of both was asked to take from the other, by sibling and direction.", []string{"sibling", "direction"}, nil)
	siblingAnswersDesc = prometheus.NewDesc("keystay_sibling_answers_total", "How a sibling has answered when it was asked to take a visitor: it took it, does not have the name, refused the visitor, could not be reached, ended the connection without an answer, or was not needed any more.", []string{"sibling", "answer"}, nil)
	siblingUpDesc      = prometheus.NewDesc("keystay_sibling_up", "1 for a sibling that can be asked, 0 for one that could not be reached when it was asked last.", []string{"sibling"}, nil)
)

// siblingMetrics are the metrics of a server's siblings, which may change.
type siblingMetrics struct{ of *siblings }

// Describe implements [prometheus.Collector].
func (siblingMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{siblingNowDesc, siblingTotalDesc, siblingAnswersDesc, siblingUpDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m siblingMetrics) Collect(to chan<- prometheus.Metric) {
	for _, s := range m.of.now() {
		for direction, p := range map[string]*places{"out": &s.out, "in": &s.in} {
			now, total := p.look()
			to <- prometheus.MustNewConstMetric(siblingNowDesc, prometheus.GaugeValue, float64(now), s.Name, direction)
			to <- prometheus.MustNewConstMetric(siblingTotalDesc, prometheus.CounterValue, float64(total), s.Name, direction)
		}
		for how, word := range siblingWords {
			to <- prometheus.MustNewConstMetric(siblingAnswersDesc, prometheus.CounterValue, float64(s.answers[how].Load()), s.Name, word)
		}
		to <- prometheus.MustNewConstMetric(siblingUpDesc, prometheus.GaugeValue, oneIf(!s.isDown()), s.Name)
	}
}

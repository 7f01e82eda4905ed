package result

import (
	"slices"
	"time"
)

// Latencies fills in the percentiles of a list, which it sorts. Of a list that
// is too short for a percentile it takes the greatest.
func (m *Measurement) Latencies(all []time.Duration) {
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	at := func(permille int) float64 {
		return float64(all[min(len(all)*permille/1000, len(all)-1)].Nanoseconds()) / 1e3
	}
	m.Count, m.P50, m.P99, m.P999 = len(all), at(500), at(990), at(999)
}

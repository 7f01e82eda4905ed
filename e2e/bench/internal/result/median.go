package result

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A spread is what several rounds gave: the median, the least and the greatest.
type spread struct {
	median, low, high float64
	n                 int
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	mid := len(values) / 2
	s := spread{median: values[mid], low: values[0], high: values[len(values)-1], n: len(values)}
	if len(values)%2 == 0 {
		s.median = (values[mid-1] + values[mid]) / 2
	}
	return s
}

// String is "median (low–high)", or "–" for nothing.
func (s spread) String() string {
	switch s.n {
	case 0:
		return "–"
	case 1:
		return digits(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

// digits writes a number with some three digits that count.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a == 0:
		return "0"
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// A picker takes one value out of the measurements that it is for.
type picker struct {
	fits  func(*Measurement) bool
	value func(*Measurement) float64
}

// of returns the values that p finds for a subject, by round.
func (p picker) of(all []Measurement, subject string) map[int]float64 {
	found := make(map[int]float64)
	for i := range all {
		m := &all[i]
		if m.Subject != subject || !p.fits(m) {
			continue
		}
		if v := p.value(m); v != 0 {
			found[m.Round] = v
		}
	}
	return found
}

// spread is the spread of what p finds for a subject.
func (p picker) spread(all []Measurement, subject string) spread {
	var values []float64
	for _, v := range p.of(all, subject) {
		values = append(values, v)
	}
	return spreadOf(values)
}

// ratio is the spread of a subject's values divided by those of another one in
// the same round.
func (p picker) ratio(all []Measurement, subject string, q picker, reference string) spread {
	refs := q.of(all, reference)
	var values []float64
	for round, v := range p.of(all, subject) {
		if ref := refs[round]; ref != 0 {
			values = append(values, v/ref)
		}
	}
	return spreadOf(values)
}

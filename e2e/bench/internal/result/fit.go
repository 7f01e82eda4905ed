package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A point is what n of something cost.
type point struct{ n, cost float64 }

// A line is cost = fixed + each·n, the one with the least squares to its points.
type line struct {
	fixed, each float64
	points      []point // by n
}

// lineThrough fits a line. It needs two points of different n, or there is none.
func lineThrough(points []point) (l line, ok bool) {
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.n, b.n) })
	if len(points) < 2 || points[0].n == points[len(points)-1].n {
		return l, false
	}
	var meanN, meanCost float64
	for _, p := range points {
		meanN += p.n / float64(len(points))
		meanCost += p.cost / float64(len(points))
	}
	var above, below float64
	for _, p := range points {
		above += (p.n - meanN) * (p.cost - meanCost)
		below += (p.n - meanN) * (p.n - meanN)
	}
	l = line{each: above / below, points: points}
	l.fixed = meanCost - l.each*meanN
	return l, true
}

// within returns how many cost no more than a limit, or 0 where the line does not
// rise.
func (l *line) within(limit float64) float64 {
	if l.each <= 0 {
		return 0
	}
	return max(0, (limit-l.fixed)/l.each)
}

// residuals is each point with what the line is away from it.
func (l *line) residuals() string {
	var all []string
	for _, p := range l.points {
		d := digits(p.cost - l.fixed - l.each*p.n)
		if !strings.HasPrefix(d, "-") {
			d = "+" + d
		}
		all = append(all, fmt.Sprintf("%s: %s (%s)", count(p.n), digits(p.cost), d))
	}
	return strings.Join(all, " · ")
}

// count writes a whole number with its thousands apart.
func count(n float64) string {
	s := fmt.Sprintf("%.0f", n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package result

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLineIsTheOneOfLeastSquares(t *testing.T) {
	l, ok := lineThrough([]point{{3, 11}, {0, 2}, {1, 5}, {2, 8}})
	if !ok || math.Abs(l.fixed-2) > 1e-9 || math.Abs(l.each-3) > 1e-9 {
		t.Errorf("through points of a line: %+v", l)
	}
	if got := l.within(302); math.Abs(got-100) > 1e-9 {
		t.Errorf("%v within 302", got)
	}
	// One point off the line by 4 of four: the residuals say so, and add up to nothing.
	l, _ = lineThrough([]point{{0, 2}, {1, 5}, {2, 8}, {3, 15}})
	for _, want := range []string{"0: 2.00 (+0.800)", "1: 5.00 (-0.400)", "2: 8.00 (-1.60)", "3: 15.0 (+1.20)"} {
		if got := l.residuals(); !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	if flat := (&line{fixed: 1, each: -1}); flat.within(10) != 0 {
		t.Error("a line that falls has a limit")
	}
	for _, points := range [][]point{nil, {{1, 1}}, {{1, 1}, {1, 2}}} {
		if _, ok := lineThrough(points); ok {
			t.Errorf("a line through %v", points)
		}
	}
}

// grown is what a thing costs at four sizes: 24 MiB and 1 MiB for each hundred
// links, and a quarter of a second for a thousand requests.
func grown() (all []Measurement) {
	for _, n := range []int{10, 100, 1_000, 10_000} {
		all = append(all,
			Measurement{Test: "scale", Subject: "session", Link: "loopback", Round: 1, Case: "links", Size: n, Memory: 24 + float64(n)/100, IdleCPU: float64(n) / 1e4},
			Measurement{Test: "scale", Subject: "session", Link: "loopback", Round: 1, Case: "requests", Size: n, Spent: 1 + float64(n)/4000})
	}
	return all
}

func TestSmallHostCarriesWhatTheLinesSay(t *testing.T) {
	var b bytes.Buffer
	Print(&b, grown(), nil, true)
	for _, want := range []string{
		"| idle links: memory | 24.0 MiB | 10.2 KiB | 10: 24.1 (",
		"| idle links: processor | ", " % | 0.100 % for 1,000 |",
		"| small requests: processor time | 1000 ms | 250 µs |",
		"| idle links | 500,000 | 48,000 | 16,000 |", // 50 % and 512 MiB
		"| small requests | 2,000 | – | – |",         // in half a second; the fixed part is before it
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestHomeIsDividedByTheOthers(t *testing.T) {
	var all []Measurement
	for what, p50 := range map[string]float64{"programs": 300, "caddy": 400, "frp": 600} {
		all = append(all, Measurement{Test: "home_keepalive", Subject: what, Link: "loopback", Round: 1, Flows: 1, P50: p50, RemoteCPUEach: p50 / 2})
	}
	var b bytes.Buffer
	Print(&b, all, nil, true)
	for _, want := range []string{
		"|  | / HAProxy, Caddy at home | / frp | target |",
		"| small request, 1 connection, p50 | 0.750 | 0.500 | Caddy ≤ 0.85, frp ≤ 0.6 |",
		"| relay and remote | 300 | 150 |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "new connections/s") {
		t.Errorf("ratios of nothing:\n%s", b.String())
	}
}

// The file says which tables it is for.
func TestScaleHasAPageOfItsOwn(t *testing.T) {
	for mark, want := range map[string]string{tablesMark: "### Bulk", scaleMark: "### How the relay's cost grows"} {
		file := filepath.Join(t.TempDir(), "x.md")
		os.WriteFile(file, []byte(beginLine(mark)+endLine(mark)), 0o600)
		if err := Insert(file, append(sample(), grown()...)); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(file)
		if s := string(b); !strings.Contains(s, want) || strings.Contains(s, "### Bulk") == strings.Contains(s, "### How") {
			t.Errorf("%s:\n%s", mark, s)
		}
	}
}

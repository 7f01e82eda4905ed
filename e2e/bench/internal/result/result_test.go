package result

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpreadShowsMedianLeastAndGreatest(t *testing.T) {
	for want, values := range map[string][]float64{
		"–":                   nil,
		"5.00":                {5},
		"2.50 (1.00–4.00)":    {4, 1, 3, 2},
		"30.0 (0.500–1200)":   {1200, 0.5, 30},
		"0.021 (0.020–0.025)": {0.021, 0.025, 0.020},
	} {
		if got := spreadOf(values).String(); got != want {
			t.Errorf("%v is %q, want %q", values, got, want)
		}
	}
}

func TestLatenciesGivePercentiles(t *testing.T) {
	var m Measurement
	m.Latencies(nil)
	if m.Count != 0 {
		t.Error("nothing was counted")
	}
	var all []time.Duration
	for i := range 1000 {
		all = append(all, time.Duration(999-i)*time.Microsecond)
	}
	m.Latencies(all)
	if m.Count != 1000 || m.P50 != 500 || m.P99 != 990 || m.P999 != 999 {
		t.Errorf("%+v", m)
	}
}

// sample is a few rounds of two subjects.
func sample() (all []Measurement) {
	for round, v := range []float64{100, 400, 1600} {
		all = append(all,
			Measurement{Test: "down", Subject: "haproxy", Link: "loopback", Round: round + 1, Flows: 8, Mbps: v * 8, RelayCPU: 2},
			Measurement{Test: "down", Subject: "session", Link: "loopback", Round: round + 1, Flows: 8, Mbps: v * 4, RelayCPU: 3})
	}
	return append(all, Measurement{Test: "fetch", Subject: "direct", Link: "wan", Round: 1, Congestion: "bbr", Flows: 1, P50: 370_000},
		Measurement{Test: "fetch", Subject: "session", Link: "wan", Where: "both", Round: 1, Congestion: "bbr", Flows: 1, P50: 185_000})
}

// Ratios are taken round by round: a machine's mood is in both values.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	var b bytes.Buffer
	Print(&b, sample(), []string{"lanes: skipped: not yet"}, true)
	for _, want := range []string{
		"| HAProxy, no tunnel | 400 (100–1600) |",
		"| keystay, session | 200 (50.0–800) |",
		"| 8 downloads / HAProxy | 0.500 (0.500–0.500) | – | lanes ≥ 1.2 |",
		"| relay CPU/GiB, 8 downloads / HAProxy | 1.50 (1.50–1.50) | – | lanes ≤ 0.55 |",
		"| 1 MB, fresh, 20 + 20 ms / direct | 0.500 | – | ≤ 1.05 |",
		"lanes: skipped: not yet",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "### Idle") || strings.Contains(b.String(), "1 download |") {
		t.Errorf("there are tables or columns of nothing:\n%s", b.String())
	}
}

func TestDrawingIsWellFormed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.svg")
	for _, all := range [][]Measurement{nil, sample()} {
		if err := Draw(file, all); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, b)
			}
		}
		if strings.Contains(string(b), "NaN") {
			t.Errorf("NaN in\n%s", b)
		}
	}
}

func TestHalfALineIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	os.WriteFile(file, []byte(`{"test":"down"}`+"\n{"), 0o600)
	if _, err := Load(file); err == nil {
		t.Error("half a line was taken")
	}
}

func TestInsertReplacesTheOldTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.md")
	os.WriteFile(file, []byte("before\n"+beginLine(tablesMark)+"old\n"+endLine(tablesMark)+"after\n"), 0o600)
	for range 2 {
		if err := Insert(file, sample()); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(file)
	s := string(b)
	if !strings.HasPrefix(s, "before\n"+beginLine(tablesMark)) || !strings.HasSuffix(s, endLine(tablesMark)+"after\n") ||
		strings.Contains(s, "old") || strings.Count(s, "### Bulk") != 1 {
		t.Errorf("the file is now\n%s", s)
	}
	os.WriteFile(file, []byte("no place\n"), 0o600)
	if err := Insert(file, sample()); err == nil {
		t.Error("a file without the two lines was changed")
	}
}

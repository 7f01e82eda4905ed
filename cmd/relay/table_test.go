package main

import (
	"strings"
	"testing"
	"time"
)

// Columns are aligned, also where letters have more than one byte, and nothing that
// others have said moves the cursor.
func TestTableIsAligned(t *testing.T) {
	tab := table{{"NAME", "BY", "REASON"}}
	tab.add("xyz.relay.test", "äö", "spam\x1b[2J\nmore")
	tab.add("a", "", "")
	var b strings.Builder
	tab.write(&b)
	const want = "NAME            BY  REASON\nxyz.relay.test  äö  spam [2J more\na\n"
	if b.String() != want {
		t.Errorf("%q\nwant\n%q", b.String(), want)
	}
}

func TestFiguresAreAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 9999 * time.Hour: "416d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 512 << 20: "512.0 MiB", 3 << 40: "3.0 TiB", 1 << 50: "1024.0 TiB"} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for ms, want := range map[float64]string{0: "-", 0.27: "0.3ms", 9.99: "10.0ms", 42.4: "42ms", 1500: "1.5s"} {
		if got := milliseconds(ms); got != want {
			t.Errorf("%v: %s, want %s", ms, got, want)
		}
	}
	if got := several([]string{"a", "b", "c"}, 2); got != "a, b and 1 more" {
		t.Error(got)
	}
}

// A point in time is said as how long ago it was, or by a date.
func TestPast(t *testing.T) {
	if at, err := past("90m"); err != nil || time.Since(at).Round(time.Minute) != 90*time.Minute {
		t.Errorf("%v, %v", at, err)
	}
	if at, err := past("2026-01-31"); err != nil || at.Local().Format(time.DateTime) != "2026-01-31 00:00:00" {
		t.Errorf("%v, %v", at, err)
	}
	for _, s := range []string{"", "-1h", "soon", "31.1.2026"} {
		if at, err := past(s); err == nil {
			t.Errorf("%q is %v", s, at)
		}
	}
}

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"keystay/internal/plain"
)

// A table is shown to people: columns as wide as they must be, two spaces between
// them. The first row is the head. Nothing in it moves the cursor.
type table [][]string

func (t *table) add(cells ...string) { *t = append(*t, cells) }

// write writes the table; what is last in a row has no padding.
func (t table) write(w io.Writer) {
	var wide []int
	for _, row := range t {
		for i, cell := range row {
			row[i] = plain.Text(cell)
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range t {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", wide[i]+2-utf8.RuneCountInString(cell)))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// span is a time as people say it, in the largest unit that fits: 8s, 5m, 3h, 12d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// ago is how long ago a time was; none is "".
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(time.Since(t))
}

// clockTime is a time in this machine's zone, to the second.
func clockTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// amount is a number of bytes as people say it.
func amount(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/unit, "KMGT"
	for len(units) > 1 && f >= unit {
		f, units = f/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, units[0])
}

// several lists words, of which it leaves out those beyond n.
func several(words []string, n int) string {
	if len(words) <= n {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:n], ", "), len(words)-n)
}

// counted is a number with what it counts.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// end is when something ends; never is "for good".
func end(t time.Time) string {
	if t.IsZero() {
		return "for good"
	}
	return "until " + clockTime(t)
}

// day is the day of a time; none is "".
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateOnly)
}

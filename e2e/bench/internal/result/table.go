package result

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A table is a title, a word about it, and cells, the first row being the head.
type table struct {
	title, note string
	cells       [][]string
}

// Print writes all that can be said about the measurements, as text in columns
// or as Markdown.
func Print(w io.Writer, all []Measurement, skipped []string, markdown bool) {
	printTables(w, append(tables(all), scaleTables(all)...), markdown)
	for _, s := range skipped {
		fmt.Fprintln(w, s)
	}
}

// printTables writes those that have anything in them.
func printTables(w io.Writer, tables []table, markdown bool) {
	for _, t := range tables {
		if len(t.cells) < 2 {
			continue
		}
		if markdown {
			t.markdown(w)
		} else {
			t.text(w)
		}
	}
}

func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n%s\n\n", t.title, t.note)
	for i, row := range t.cells {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "| --- |%s\n", strings.Repeat(" ---: |", len(row)-1))
		}
	}
	fmt.Fprintln(w)
}

func (t *table) text(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s\n", t.title, t.note)
	width := make([]int, len(t.cells[0]))
	for _, row := range t.cells {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.cells {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprint(w, "  ", cell, pad)
			} else {
				fmt.Fprint(w, "   ", pad, cell)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// A column is a head and what is below it.
type column struct {
	head string
	picker
}

// A row is a label and the subject whose values are in it; also narrows down
// what the columns take, and may be nil.
type row struct {
	label, subject string
	also           func(*Measurement) bool
}

// grid fills a table. Rows and columns without any value are left out.
func grid(title, note, corner string, all []Measurement, rows []row, columns []column) table {
	t := table{title: title, note: note}
	used := make([]bool, len(columns))
	var body [][]spread
	var labels []string
	for _, r := range rows {
		line, found := make([]spread, len(columns)), false
		for i, c := range columns {
			p := c.picker
			if r.also != nil {
				p.fits = func(m *Measurement) bool { return c.fits(m) && r.also(m) }
			}
			line[i] = p.spread(all, r.subject)
			found = found || line[i].n > 0
			used[i] = used[i] || line[i].n > 0
		}
		if found {
			body, labels = append(body, line), append(labels, r.label)
		}
	}
	if len(body) == 0 {
		return t
	}
	head := []string{corner}
	for i, c := range columns {
		if used[i] {
			head = append(head, c.head)
		}
	}
	t.cells = append(t.cells, head)
	for i, line := range body {
		cells := []string{labels[i]}
		for j, s := range line {
			if used[j] {
				cells = append(cells, s.String())
			}
		}
		t.cells = append(t.cells, cells)
	}
	return t
}

package inspect

import (
	"slices"
	"strings"
)

// maxDiff is how many lines of each body are compared, behind those that are the same at
// both ends.
const maxDiff = 600

// A diffLine is a line of two texts: in the first alone (-), in the second alone (+), or
// in both ( ).
type diffLine struct{ Mark, Text string }

// Where names the text for those who do not see the mark.
func (l diffLine) Where() string {
	switch l.Mark {
	case "-":
		return "only in the first"
	case "+":
		return "only in the second"
	}
	return ""
}

// differ compares two texts by their lines. It reports whether all of them were compared.
func differ(a, b string) (lines []diffLine, whole bool) {
	x, y := linesOf(a), linesOf(b)
	same := func(list []string) {
		for _, s := range list {
			lines = append(lines, diffLine{" ", s})
		}
	}
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	same(x[:head])
	ends := x[len(x)-tail:]
	x, y = x[head:len(x)-tail], y[head:len(y)-tail]
	if len(x) > maxDiff || len(y) > maxDiff {
		return lines, false
	}
	lines = append(lines, longest(x, y)...)
	same(ends)
	return lines, true
}

func linesOf(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// longest compares with the longest sequence of lines that both have.
func longest(x, y []string) (lines []diffLine) {
	n := make([][]int, len(x)+1) // of the lines from there on
	for i := range n {
		n[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			lines = append(lines, diffLine{" ", x[i]})
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && n[i+1][j] >= n[i][j+1]:
			lines = append(lines, diffLine{"-", x[i]})
			i++
		default:
			lines = append(lines, diffLine{"+", y[j]})
			j++
		}
	}
	return lines
}

// A diffField is a field of two heads.
type diffField struct {
	Name, First, Second string
	Same                bool
}

// differFields compares two heads, by names.
func differFields(a, b []field) (list []diffField) {
	join := func(of []field, name string) string {
		var values []string
		for _, f := range of {
			if strings.EqualFold(f.Name, name) {
				values = append(values, f.Value)
			}
		}
		return strings.Join(values, "\n")
	}
	seen := make(map[string]bool)
	for _, f := range slices.Concat(a, b) {
		name := strings.ToLower(f.Name)
		if seen[name] {
			continue
		}
		seen[name] = true
		d := diffField{Name: f.Name, First: join(a, name), Second: join(b, name)}
		d.Same = d.First == d.Second
		if f.Secret {
			d.First, d.Second = veiled(d.First), veiled(d.Second)
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b diffField) int {
		switch {
		case a.Same != b.Same && b.Same:
			return -1
		case a.Same != b.Same:
			return 1
		}
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list
}

// veiled is a secret that may be compared but not seen.
func veiled(s string) string {
	if s == "" {
		return ""
	}
	return masked
}

package hint

import "strings"

// Nearest returns the word that a person who typed s most likely meant, or ""
// when none is near: up to one slip for three letters, a swap of two
// neighbours being one slip.
func Nearest(s string, words []string) string {
	best, limit := "", max(1, len(s)/3)
	for _, w := range words {
		if d := len(w) - len(s); d > limit || -d > limit {
			continue // also keeps long input cheap
		}
		if d := distance(strings.ToLower(s), w); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// LongDash returns the name of a flag that was typed with a long dash, or a sign for
// minus, in the place of its short ones, and whether s is that.
func LongDash(s string) (name string, long bool) {
	name = strings.TrimLeft(s, "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
	long = len(name) < len(s) && strings.Trim(s[:len(s)-len(name)], "-") != ""
	name, _, _ = strings.Cut(name, "=")
	return name, long
}

// distance is the optimal string alignment distance of two short words.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

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

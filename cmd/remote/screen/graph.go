package screen

import "strings"

// graph draws numbers as bars of one line, in that many columns at most, the last numbers
// on the right. The highest bar is the largest number.
func graph(numbers []int, columns int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	numbers = numbers[max(0, len(numbers)-columns):]
	most := 1
	for _, n := range numbers {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range numbers {
		at := 0 // nothing is the lowest bar, and anything stands above it
		if n > 0 {
			at = max(1, n*(len(bars)-1)/most)
		}
		b.WriteRune(bars[at])
	}
	return b.String()
}

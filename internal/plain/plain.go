// Package plain makes text that comes from outside safe to show. What a relay, a
// proxy or a certificate says ends up on a person's terminal, where it must not
// move the cursor, clear the screen, set the title, or pass for a line of the
// program's own.
package plain

import (
	"strings"
	"unicode"
)

// Text returns s as one line: each character that does not print becomes a
// space, such as a control character, a line's end or a mark that turns the
// direction of writing, and each byte that is no UTF-8 becomes U+FFFD.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// Cut returns s, or as much of it as fits into n bytes with three dots.
func Cut(s string, n int) string {
	const dots = "..."
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:max(0, n-len(dots))], "") + dots
}

// Lines returns s with each of its lines as Text makes it.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Text(line)
	}
	return strings.Join(lines, "\n")
}

// Error returns err with its text as Text makes it, and nil for nil. It wraps err.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return plainError{err}
}

type plainError struct{ err error }

func (e plainError) Error() string { return Text(e.err.Error()) }
func (e plainError) Unwrap() error { return e.err }

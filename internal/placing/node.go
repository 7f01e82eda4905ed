package placing

import "strings"

const (
	// MaxWeight is the most that a node's weight may be.
	MaxWeight = 1000
	// MaxName is how long a node's name and its region may be, in bytes.
	MaxName = 63
)

// IsName reports whether a text can be the name of a node: 1 to MaxName lower-case
// letters, digits, dots and hyphens, beginning and ending with a letter or a digit.
func IsName(s string) bool {
	for i, c := range []byte(s) {
		inner := (c == '-' || c == '.') && i > 0 && i < len(s)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || inner) {
			return false
		}
	}
	return s != "" && len(s) <= MaxName
}

// IsRegion reports whether a text can say where a node stands: up to MaxName printable
// characters of ASCII without spaces, or nothing.
func IsRegion(s string) bool {
	return len(s) <= MaxName && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

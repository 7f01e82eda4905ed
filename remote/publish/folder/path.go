package folder

import (
	"net/url"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxPath is how long a path may be, in bytes: as long as Linux takes one.
	maxPath = 4096
	// maxDepth is how many folders deep a file may lie.
	maxDepth = 64
)

// segments returns the names in the path of a request, each decoded, and whether it
// ends in a slash. It is false for a path that names nothing that is served: one
// with a name that is hidden, an empty one, or a slash that is encoded.
func segments(u *url.URL) (names []string, dir, ok bool) {
	p := u.Path
	if p == "" || p == "/" {
		return nil, p == "/", true
	}
	if p[0] != '/' || len(p) > maxPath || hasEncodedSlash(u.EscapedPath()) {
		return nil, false, false
	}
	p, dir = strings.CutSuffix(p[1:], "/")
	for name := range strings.SplitSeq(p, "/") {
		if isHidden(name) || len(names) == maxDepth {
			return nil, false, false
		}
		names = append(names, name)
	}
	return names, dir, true
}

// hasEncodedSlash reports whether a slash is spelt so that services disagree about
// whether it is one.
func hasEncodedSlash(escaped string) bool {
	lower := strings.ToLower(escaped)
	return strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") || strings.Contains(lower, `\`)
}

// isHidden reports whether nothing of this name is served: the empty one, one that
// begins with a dot, which "." and ".." do, and names that are no text or that this
// system may take for other ones.
func isHidden(name string) bool {
	return isHiddenAnywhere(name) || runtime.GOOS == "windows" && isHiddenInWindows(name)
}

func isHiddenAnywhere(name string) bool {
	// The file system of older Macs ignores characters that cannot be seen.
	visible := strings.TrimLeftFunc(name, func(r rune) bool { return unicode.Is(unicode.Cf, r) })
	return visible == "" || visible[0] == '.' || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || unicode.IsControl(r) })
}

// isHiddenInWindows reports whether a name is none of a file in Windows, or another
// name of one: of a device, of a stream of a file (a.txt::$DATA), with dots and
// spaces behind it that are ignored, or the short form of a long name (GIT~1).
func isHiddenInWindows(name string) bool {
	if strings.ContainsAny(name, `<>:"|?*`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return true
	}
	if _, rest, ok := strings.Cut(name, "~"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return true
	}
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch base = strings.TrimRight(base, " "); base {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	if digit, ok := strings.CutPrefix(base, "com"); ok {
		return isDeviceDigit(digit)
	}
	digit, ok := strings.CutPrefix(base, "lpt")
	return ok && isDeviceDigit(digit)
}

// isDeviceDigit reports whether this behind COM or LPT makes the name of a device.
func isDeviceDigit(s string) bool {
	return len(s) == 1 && s[0] >= '0' && s[0] <= '9' || s == "¹" || s == "²" || s == "³"
}

package folder

import (
	"strings"
	"testing"
)

// A name that Windows takes for another file, for a device or for a stream of a file is
// none there, whatever its case; what only looks like that is a file.
func TestNamesThatMeanSomethingElseInWindowsAreHiddenThere(t *testing.T) {
	for _, name := range strings.Split(`a.txt::$DATA|a:b|a.txt.|a.txt |a . .|con|CON|Con.txt|con .txt|prn|aux.c|nul|NUL.tar.gz|conin$|CONOUT$|com1|COM9.log|com0|lpt1|LPT¹|com²|lpt³.x|GIT~1|WEB~2.CON|PROGRA~1|a?b|a*|<a>|"a"|a|b`, "|") {
		want := name != "a" && name != "b" // the bar itself parts the list
		if got := isHiddenInWindows(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
	for _, name := range strings.Fields(`a.txt confound.txt console com com10 lpt lptx auxiliary.js nul-l a~b ~a a~ ünïcode.txt a.b.c (1).txt`) {
		if isHiddenInWindows(name) {
			t.Errorf("%q is hidden", name)
		}
	}
}

// A name with a dot in front is hidden, also where characters that cannot be seen
// stand before it; a name in any script is not.
func TestNamesWithADotInFrontAreHidden(t *testing.T) {
	for _, name := range []string{"", ".", "..", ".a", "\u200c.git", "\ufeff.env", "\u200e\u200f.x", "a/b", `a\b`, "a\x00", "a\n", "\x7f", "\u0085", "\xc0\xae", "a\xff", "\u200c"} {
		if !isHiddenAnywhere(name) {
			t.Errorf("%q is not hidden", name)
		}
	}
	for _, name := range []string{"a", "a.b", "a.", " a", "می\u200cخواهم.txt", "👩\u200d👩\u200d👧.png", "文件", "a:b", "con", "~"} {
		if isHiddenAnywhere(name) {
			t.Errorf("%q is hidden", name)
		}
	}
}

// Each type in the table is one, and text has its charset.
func TestTypesAreWellFormed(t *testing.T) {
	for ext, typ := range types {
		kind, rest, ok := strings.Cut(typ, "/")
		if !ok || ext != strings.ToLower(ext) || strings.HasPrefix(ext, ".") || kind == "text" != strings.HasSuffix(rest, "; charset=utf-8") {
			t.Errorf("%q is %q", ext, typ)
		}
	}
	for name, want := range map[string]string{"a.JPG": "image/jpeg", "a.tar.gz": "application/gzip", "a": "application/octet-stream", "a.html.": "application/octet-stream", "html": "application/octet-stream"} {
		if got := contentType(name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}

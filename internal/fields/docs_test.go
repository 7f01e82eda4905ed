package fields_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"keystay/internal/fields"
)

// What the documents list as dropped is dropped, in these and in CGI's letters,
// and what they list as prefixes with anything behind them.
func TestDocumentedFrontFields(t *testing.T) {
	text, err := os.ReadFile("../../docs/forwarding.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## What only a front may say\n")
	section, _, _ = strings.Cut(section, "\n## ")
	n := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			name := strings.Replace(m[1], "…", "Something-Else", 1)
			n++
			for _, spelling := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")} {
				if !fields.OfFront(spelling) {
					t.Errorf("%s passes", spelling)
				}
			}
		}
	}
	if n < 90 {
		t.Errorf("only %d fields found", n)
	}
}

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shownBy is a test in a row of docs/blindness.md: a file and a function in it, or a
// story.
var shownBy = regexp.MustCompile("`((?:[a-z0-9_]+/)+[a-z0-9_]+)(?:(_test\\.go)` `(Test[A-Za-z0-9]+)`|(\\.txtar)`)")

// Each row that says what a party can do names a test that shows it, and there is that
// test.
func TestEachRowOfBlindnessHasItsTest(t *testing.T) {
	rows := 0
	for _, row := range rowsOf(t, "blindness.md", "## What each party can do") {
		rows++
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		tests := shownBy.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(tests) == 0 {
			t.Errorf("no test in %s", row)
		}
		if verdict := cells[len(cells)-2]; !regexp.MustCompile(`^(prevented|detected|neither)\b`).MatchString(verdict) {
			t.Errorf("%q says neither prevented, detected nor neither", verdict)
		}
		for _, m := range tests {
			text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(m[1]+m[2]+m[4])))
			if err != nil || m[3] != "" && !strings.Contains(string(text), "\nfunc "+m[3]+"(t *testing.T) {") {
				t.Errorf("there is no test %s%s%s %s: %v", m[1], m[2], m[4], m[3], err)
			}
		}
	}
	if rows < 20 {
		t.Errorf("the table has %d rows", rows)
	}
}

// rowsOf returns the rows of the table in a section of a page, without its head.
func rowsOf(t *testing.T, page, heading string) (rows []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), heading+"\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	if !ok {
		t.Fatalf("%s has no section %q", page, heading)
	}
	for line := range strings.SplitSeq(section, "\n") {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, line)
		}
	}
	return rows[2:]
}

// What is said in short of listening in stands between these lines.
const (
	sameBegins = "<!-- The same stands in the threat model and in the README. -->\n"
	sameEnds   = "<!-- End of what is the same. -->\n"
)

// The README, the threat model and the page about it say the same of who can listen in,
// to the word, but for where their links lead from.
func TestPagesAgreeOnWhoCanListenIn(t *testing.T) {
	said := make(map[string]string)
	for _, page := range []string{"blindness.md", "threat-model.md", "../README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, begins := strings.Cut(string(text), sameBegins)
		same, _, ends := strings.Cut(rest, sameEnds)
		if !begins || !ends {
			t.Errorf("%s does not say it", page)
		}
		said[page] = strings.ReplaceAll(same, "](docs/", "](")
	}
	for page, text := range said {
		if text != said["blindness.md"] {
			t.Errorf("%s says\n%s\nand docs/blindness.md\n%s", page, text, said["blindness.md"])
		}
	}
}

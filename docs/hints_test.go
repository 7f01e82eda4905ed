package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"keystay/internal/hint"
)

// The tables of messages stand between these lines of a guide.
const (
	tableBegins = "<!-- Made from package hint: go test ./docs -update -->\n"
	tableEnds   = "<!-- End of what is made -->\n"
)

// table returns the rows as a table in Markdown.
func table(rows []*hint.Advice) string {
	var b strings.Builder
	b.WriteString("| message | what it is | do |\n| --- | --- | --- |\n")
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;")
	for _, a := range rows {
		b.WriteString("| `" + a.Shown + "` | " + cell.Replace(a.Means) + " | " + cell.Replace(strings.Join(a.Do, "; ")) + " |\n")
	}
	return b.String()
}

func TestTablesOfMessagesAreCurrent(t *testing.T) {
	for file, rows := range map[string][]*hint.Advice{
		"running-a-remote.md": append(hint.Remote(), hint.Shared()...),
		"running-a-relay.md":  append(hint.Relay(), hint.Shared()...),
	} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok1 := strings.Cut(string(page), tableBegins)
		_, after, ok2 := strings.Cut(rest, tableEnds)
		if !ok1 || !ok2 {
			t.Errorf("%s has no place for its table", file)
			continue
		}
		want := before + tableBegins + "\n" + table(rows) + "\n" + tableEnds + after
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if string(page) != want {
			t.Errorf("%s is stale: go test ./docs -update", file)
		}
	}
}

var declared = regexp.MustCompile(`(?m)^(?:var )?\t?(\w+) += &Advice\{`)

var used = regexp.MustCompile(`\bhint\.(\w+)`)

// Each advice is in a table, and a program gives it.
func TestEachAdviceIsGiven(t *testing.T) {
	var source, tables strings.Builder
	for _, room := range []string{"acme", "cmd", "config", "framing", "internal", "relay", "remote"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(p string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			text, err := os.ReadFile(p)
			if filepath.Base(filepath.Dir(p)) == "hint" {
				tables.Write(text)
			} else {
				source.Write(text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	listed := make(map[*hint.Advice]bool)
	for _, a := range append(append(hint.Remote(), hint.Relay()...), hint.Shared()...) {
		if listed[a] || a.Shown == "" || len(a.Do) == 0 {
			t.Errorf("the row %q is listed twice, or not whole", a.Shown)
		}
		listed[a] = true
	}
	names := declared.FindAllStringSubmatch(tables.String(), -1)
	if len(names) != len(listed)+1 { // Help is no row
		t.Errorf("%d are declared, %d and Help are in the tables", len(names), len(listed))
	}
	given := make(map[string]bool)
	for _, m := range used.FindAllStringSubmatch(source.String(), -1) {
		given[m[1]] = true
	}
	for _, m := range names {
		if !given[m[1]] {
			t.Errorf("no program gives hint.%s", m[1])
		}
	}
}

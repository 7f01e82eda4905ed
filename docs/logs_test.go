package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The packages that a relay is made of.
var relayPackages = []string{"cmd/relay", "relay", "acme", "framing", "sni", "config", "internal"}

// A logLine is a call that logs.
type logLine struct {
	level, message string
	keys           []string
}

// logLines returns what the relay's packages log at the level info and above.
func logLines(t *testing.T) (list []logLine) {
	t.Helper()
	for _, dir := range relayPackages {
		err := filepath.WalkDir(filepath.Join("..", filepath.FromSlash(dir)), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if line, ok := logged(call); ok {
						list = append(list, line)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

var levels = map[string]string{"Info": "info", "Warn": "warn", "Error": "error", "Log": "info or warn"}

// logged returns what a call logs, if it does.
func logged(call *ast.CallExpr) (line logLine, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || levels[method.Sel.Name] == "" || !strings.EqualFold(lastName(method.X), "log") && !strings.EqualFold(lastName(method.X), "logger") {
		return line, false
	}
	args := call.Args
	if method.Sel.Name == "Log" {
		args = args[2:]
	}
	line = logLine{level: levels[method.Sel.Name], message: message(args[0])}
	if _, own := method.X.(*ast.CallExpr); own { // that of a session
		line.keys = append(line.keys, "identity", "remote", "run")
	}
	for i := 1; i < len(args); i++ {
		switch a := args[i].(type) {
		case *ast.BasicLit: // its value comes next
			if s, err := strconv.Unquote(a.Value); err == nil && a.Kind == token.STRING {
				line.keys = append(line.keys, s)
				i++
			}
		case *ast.CallExpr:
			if f, ok := a.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Attr" {
				line.keys = append(line.keys, "hint")
			}
		case *ast.Ident:
			if a.Name == "left" {
				line.keys = append(line.keys, "left_out")
			}
		}
	}
	return line, true
}

// lastName is the last name of an expression, as in log for p.log and for sess.log().
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}

var verb = regexp.MustCompile(`%[a-z]`)

// message is what an expression says, with … for what is filled in.
func message(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.CallExpr:
		if lastName(e.Fun) == "Sprintf" {
			return verb.ReplaceAllString(message(e.Args[0]), "…")
		}
	}
	return "…"
}

// attributes are all that may stand beside a message, and what each is. None is of a
// visitor: see docs/threat-model.md before one is added.
var attributes = map[string]string{
	"account":           "the URL of the relay's account with the CA",
	"addr":              "where this relay listens",
	"address":           "where a node is, or a connection with it leads",
	"at":                "the relay's own URL; of a mistake, the functions of this program where it was made",
	"ca":                "the URL of the CA that the relay's own certificate is ordered from",
	"certificate_until": "until when that is valid",
	"changed":           "the settings that have changed",
	"clock":             "how far it has jumped",
	"code":              "a remote's reason as a number",
	"err":               "what went wrong, with files, or with addresses of remotes and of servers that the relay asks",
	"error":             "the same, of certificates",
	"failures":          "how often it has failed",
	"file":              "a file of this machine",
	"for":               "what a socket is for; how long visitors may finish",
	"from":              "what says how much memory there is; the address that somebody signs in from on the operator's page",
	"hint":              "what to do",
	"identity":          "of a device: the label made from its key",
	"key":               "a setting",
	"lasted":            "how long it has lasted",
	"left_out":          "how many such lines were left out before, since anybody can cause them",
	"let_go":            "how many connections were let go",
	"limit":             "how many descriptors this process may have",
	"line":              "where that setting stands",
	"links":             "how many there are, or how many bytes they take",
	"lost":              "how many entries were not written",
	"name":              "a name that a remote has or claims, or the relay's own",
	"names":             "how many there are, or who may take one",
	"node":              "the name of a machine that runs this relay, too, or of this one",
	"nodes":             "how many there are",
	"epoch":             "which of the node's processes it is",
	"next":              "when it is tried again",
	"not_after":         "when a certificate ends",
	"of":                "how many bytes links may take",
	"of_unfinished":     "how many bytes unfinished hellos may take",
	"old":               "the identity that has handed over",
	"on":                "what a lever was pulled for: a name, an identity, an address that the operator named",
	"panic":             "the error, if it is the runtime's; else the type of a value alone",
	"page":              "the page of the operator that could not be made",
	"pid":               "the number of a process",
	"port":              "a TCP port of this relay that devices may have",
	"proxy":             "the address of a proxy in `proxy_protocol.from`",
	"reason":            "why, in words of this program, of the operator, or of a remote that goes away",
	"remote":            "the address of a remote's link, or of a program that said it was one",
	"result":            "what came of a lever",
	"rtt":               "the round trip of a link",
	"run":               "the number of a remote's run",
	"said_by":           "the file, flag or variable of a setting",
	"state":             "what the service manager was to be told",
	"sibling":           "a relay of another owner, by its name",
	"to":                "where a server of the operator's own is, or a sibling",
	"tokens":            "how many there are",
	"unfinished":        "how many bytes unfinished hellos and visitors who wait take; no more is told of them",
	"version":           "the program of a node",
	"until":             "when visitors are cut off, or when a certificate may be ordered",
	"validation":        "how the CA looks at the relay's own name",
	"visitors":          "how many are here",
	"what":              "the lever that was pulled",
	"while":             "what this program was doing",
	"user":              "who has signed in on the operator's page",
	"who":               "the user of this machine who has pulled it",
	"why":               "why a certificate is ordered, or was not obtained",
}

const (
	logsFile   = "logs.md"
	logsBegin  = "<!-- Made from the programs' source: go test ./docs -update -->\n\n"
	logsEnd    = "\n<!-- End of what is made -->"
	ofSettings = "…"
)

// The page lists all that a relay logs, with all that stands beside it.
func TestLogsAreListed(t *testing.T) {
	lines := logLines(t)
	rows, unknown := make(map[string]bool), make(map[string]bool)
	used := make(map[string]bool)
	for _, l := range lines {
		for _, k := range l.keys {
			used[k] = true
			if attributes[k] == "" {
				unknown[k] = true
			}
		}
		what := "`" + l.message + "`"
		if l.message == ofSettings {
			what = "what is wrong with a setting, who else may read a file, or what was done with the relay's own certificate"
		}
		row := "| " + what + " | " + l.level + " | "
		if len(l.keys) > 0 {
			row += "`" + strings.Join(slices.Compact(l.keys), "`, `") + "`"
		}
		rows[row+" |\n"] = true
	}
	if len(unknown) > 0 {
		t.Errorf("%v stand in the log and not in attributes: are they of a visitor?", slices.Sorted(maps.Keys(unknown)))
	}
	var made strings.Builder
	made.WriteString("| message | level | with |\n| --- | --- | --- |\n" + strings.Join(slices.Sorted(maps.Keys(rows)), ""))
	made.WriteString("\n| beside it | what it is |\n| --- | --- |\n")
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		if !used[k] {
			t.Errorf("%s stands in no line of the log", k)
		}
		made.WriteString("| `" + k + "` | " + attributes[k] + " |\n")
	}
	page, err := os.ReadFile(logsFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), logsBegin)
	_, after, ok2 := strings.Cut(rest, logsEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for its table", logsFile)
	}
	want := before + logsBegin + made.String() + logsEnd + after
	if *update {
		if err := os.WriteFile(logsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("%s is stale: go test ./docs -update", logsFile)
	}
	if len(lines) < 60 {
		t.Errorf("only %d lines were found", len(lines))
	}
}

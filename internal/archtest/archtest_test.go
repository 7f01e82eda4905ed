// Package archtest holds the architecture: who may import whom, and the habits
// that a compiler does not check.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "keystay"

// A file is one Go file of the tree.
type file struct {
	path string // from the root, with slashes
	pkg  string // its folder
	test bool
	ast  *ast.File
	src  string
}

// tree returns all Go files of both modules.
func tree(t *testing.T) []file {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}

// parsed reads the tree, once for all tests. Nobody changes what it returns.
var parsed = sync.OnceValues(func() (files []file, err error) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && p != root && (name == "testdata" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		files = append(files, file{rel, rel[:max(0, strings.LastIndexByte(rel, '/'))], strings.HasSuffix(rel, "_test.go"), f, string(src)})
		return err
	})
	return files, err
})

func (f *file) imports() (paths []string) {
	for _, i := range f.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// within reports whether folder is one of the rooms or below one.
func within(folder string, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(room string) bool { return folder == room || strings.HasPrefix(folder, room+"/") })
}

func TestArchitecture(t *testing.T) {
	files := tree(t)
	for name, check := range map[string]func(*testing.T, []file){
		"imports":  imports,
		"ends":     endsAreApart,
		"docs":     oneDocForEachPackage,
		"inits":    noInit,
		"sleeps":   noSleepInRealTime,
		"wrappers": wrappersForwardCloseWrite,
	} {
		t.Run(name, func(t *testing.T) { check(t, files) })
	}
}

// mayImport is the table of the rooms: which of ours each may use. A room that
// is not listed may use nothing.
var mayImport = map[string][]string{
	"cmd/relay":      {"relay", "remote", "framing", "sni", "acme", "config", "deploy", "internal"},
	"cmd/remote":     {"cmd/remote/screen", "relay", "remote", "framing", "sni", "acme", "config", "internal"},
	"relay":          {"sni", "framing", "relay/limits", "relay/names", "internal"},
	"relay/limits":   {"internal"},
	"relay/names":    {"internal"},
	"relay/cluster":  {"relay", "relay/limits", "relay/names", "framing", "internal"},
	"relay/operator": {"relay", "relay/limits", "relay/names", "internal"},

	"relay/cluster/record": {"relay/names", "internal"},
	"relay/names/trial":    {"relay/names", "internal"},

	"cmd/remote/screen": {"internal"},

	"relay/operator/page": {"relay", "relay/operator", "internal"},

	"remote":         {"framing", "sni", "acme", "internal"},
	"remote/publish": {"internal"},
	"remote/relays":  {"remote", "internal"},
	"remote/verify":  {"internal"},
	"remote/connect": {"internal"},
	"remote/watch":   {"remote/watch/browser", "internal"},

	"remote/watch/browser": nil,

	"remote/watch/ct": {"internal"},

	"remote/publish/gate":    {"remote/publish", "internal"},
	"remote/publish/folder":  {"internal"},
	"remote/publish/inspect": {"internal"},
	"remote/publish/raw":     {"internal"},

	"framing":  {"internal"},
	"sni":      {"internal/hostname"},
	"acme":     {"internal/hint", "internal/hostname", "internal/ownfile", "internal/plain", "internal/proxydial"},
	"config":   {"internal/amount", "internal/fields", "internal/hint", "internal/hostname", "internal/ownfile", "internal/placing", "internal/proxydial", "internal/relaylist", "internal/signin", "internal/urlpath"},
	"internal": nil,

	"internal/domainproof": {"internal/hostname", "internal/keyname"},
	"internal/relaylist":   {"internal/hostname"},
	"internal/statement":   {"internal/hostname", "internal/keyname"},
	"internal/unit":        nil,
	"deploy":               nil,
	"docs":                 nil,
	"e2e":                  {"cmd", "relay", "remote", "framing", "sni", "acme", "config", "internal", "e2e"},
}

// mayAlsoImport is what one folder may import beyond its room.
var mayAlsoImport = map[string][]string{
	"internal/cli":       {"internal/hint", "internal/ownfile", "internal/plain"},
	"internal/duplex":    {"internal/panics", "internal/socket", "internal/stack"},
	"internal/handover":  {"internal/socket"},
	"internal/ownfile":   {"internal/hint"},
	"internal/proxydial": {"internal/hint"},
	"internal/signin":    {"internal/hint", "internal/publicaddr"},
	"internal/unheard":   {"internal/socket"},
}

// testsMayImport is what tests may use beyond that.
var testsMayImport = map[string][]string{
	"internal": {"internal/memconn", "internal/testca", "internal/testnet"},

	"remote/watch/browser": {"internal/memconn", "internal/testca"},

	"relay/names": {"relay/names/trial"},

	"acme":   {"internal/testca", "internal/testnet"},
	"docs":   {"config", "internal/hint"},        // pages are made from them
	"remote": {"remote/publish", "remote/watch"}, // its example, and what the watch sees of its ports

	"remote/publish":        {"remote/publish/inspect"}, // it stands before the routes
	"remote/publish/folder": {"remote/publish"},         // it stands behind a route
}

// onlyIn says which rooms alone may import a module from outside. The tests of a
// room that they are in may too.
var onlyIn = map[string]string{
	"github.com/xtaci/smux":            "framing",
	"github.com/pires/go-proxyproto":   "framing, relay, remote/publish/raw",
	"github.com/coder/websocket":       "framing",
	"github.com/caddyserver/certmagic": "acme",
	"github.com/mholt/acmez":           "acme",
	"github.com/spf13/viper":           "config",
	"github.com/inetaf/tcpproxy":       "relay",
	"go.etcd.io/bbolt":                 "relay/names",
	"go.etcd.io/etcd":                  "relay/cluster/record",
	"github.com/google/btree":          "relay/cluster/record",
	"github.com/miekg/dns":             "internal/domainproof",
	"filippo.io/age":                   "remote",
	"github.com/coreos/go-oidc":        "remote/publish/gate",
	"golang.org/x/oauth2":              "remote/publish/gate",
	"go.mau.fi/util":                   "relay/names",
	"github.com/andybalholm/brotli":    "remote/publish/inspect, remote/watch/browser",
	"github.com/klauspost/compress":    "remote/watch/browser",

	"github.com/kardianos/service":          "internal/unit",
	"github.com/refraction-networking/utls": "remote/watch/browser",

	"charm.land":               "cmd/remote/screen",
	"github.com/charmbracelet": "cmd/remote/screen",
	"github.com/piglig/go-qr":  "cmd/remote/screen",
}

// onlyInTests is what a room may import in its tests alone: the peer of these.
const onlyInTests = "github.com/xtaci/smux"

// imports checks the tables above.
func imports(t *testing.T, files []file) {
	rooms := slices.Collect(maps.Keys(mayImport))
	seen := make(map[string]bool)
	for _, f := range files {
		room := ""
		for _, r := range rooms {
			if within(f.pkg, []string{r}) && len(r) > len(room) { // the innermost
				room = r
			}
		}
		if room == "" {
			t.Errorf("%s is in no room of the table", f.path)
			continue
		}
		seen[room] = true
		for _, p := range f.imports() {
			folder, ours := strings.CutPrefix(p, module+"/")
			if ours && folder != f.pkg {
				ok := within(folder, mayImport[room]) || within(folder, mayAlsoImport[f.pkg]) || f.test && within(folder, testsMayImport[room])
				if !ok {
					t.Errorf("%s imports %s", f.path, p)
				}
			}
			for outside, list := range onlyIn {
				owners := strings.Split(list, ", ")
				inTest := f.test && slices.ContainsFunc(owners, func(owner string) bool { return within(owner, []string{room}) })
				if within(p, []string{outside}) && !slices.Contains(owners, room) && room != "e2e" && !inTest {
					t.Errorf("%s imports %s, which only %s may", f.path, p, list)
				}
				if within(p, []string{outside}) && outside == onlyInTests && !f.test && room != "e2e" {
					t.Errorf("%s imports %s, which only tests may", f.path, p)
				}
			}
			if within(p, []string{module + "/internal/memconn", module + "/internal/testca", module + "/internal/testnet"}) && !f.test && !within(f.pkg, []string{"internal", "e2e"}) {
				t.Errorf("%s imports %s, which is for tests", f.path, p)
			}
		}
	}
	for _, r := range rooms {
		if !seen[r] && r != "docs" {
			t.Errorf("no file in %s: the table is stale", r)
		}
	}
}

// The two ends never import each other, not even in tests.
func endsAreApart(t *testing.T, files []file) {
	for _, f := range files {
		for end, other := range map[string]string{"relay": module + "/remote", "remote": module + "/relay"} {
			if within(f.pkg, []string{end}) && slices.Contains(f.imports(), other) {
				t.Errorf("%s imports %s", f.path, other)
			}
		}
	}
}

// Each package has one doc comment, in one of its files.
func oneDocForEachPackage(t *testing.T, files []file) {
	docs, names := make(map[string][]string), make(map[string]string)
	for _, f := range files {
		if f.test {
			continue
		}
		names[f.pkg] = f.ast.Name.Name
		if f.ast.Doc == nil {
			continue
		}
		docs[f.pkg] = append(docs[f.pkg], f.path)
		text := f.ast.Doc.Text()
		if name := f.ast.Name.Name; name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			t.Errorf("%s: the doc begins with %.40q", f.path, text)
		}
	}
	for pkg, name := range names {
		if n := len(docs[pkg]); n != 1 {
			t.Errorf("package %s in %s has %d doc comments: %v", name, pkg, n, docs[pkg])
		}
	}
}

// Nothing runs by being imported.
func noInit(t *testing.T, files []file) {
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init", f.path)
			}
		}
	}
}

package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decided is one place in a row of the table "Where is it decided": a file and a
// name in it, such as `relay/route.go` `router.find`.
var decided = regexp.MustCompile("`([a-z0-9_/]+\\.go)` `([A-Za-z0-9_.]+)`")

// Each place of the table "Where is it decided" in docs/development.md exists: the
// file, and in it a function, a method, a constant, a variable or a type of that
// name.
func TestWhereIsItDecided(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "development.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "## Where is it decided\n")
	table, _, _ := strings.Cut(rest, "\n## ")
	if !ok {
		t.Fatal("docs/development.md has no such table")
	}
	declared := make(map[string][]string)
	for _, f := range tree(t) {
		declared[f.path] = names(f.ast)
	}
	rows := 0
	for line := range strings.SplitSeq(table, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| question") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		places := decided.FindAllStringSubmatch(line, -1)
		if len(places) == 0 {
			t.Errorf("no place in %s", line)
		}
		for _, p := range places {
			switch all, ok := declared[p[1]]; {
			case !ok:
				t.Errorf("there is no %s: %s", p[1], line)
			case !slices.Contains(all, p[2]):
				t.Errorf("%s declares no %s: %s", p[1], p[2], line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("the table has %d rows", rows)
	}
}

// names returns what a file declares; methods have their type and a dot in front.
func names(f *ast.File) (all []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			all = append(all, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					all = append(all, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						all = append(all, n.Name)
					}
				}
			}
		}
	}
	return all
}

// receiver returns the type of a method and a dot, or nothing for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// sleepers are tests that wait for a clock that is not Go's.
var sleepers = []string{"internal/duplex/socket_linux_test.go"} // the kernel's

// bubbles are the functions that run a function under testing/synctest, where
// sleeping takes no time.
var bubbles = []string{"synctest.Test", "bubble"}

// No test sleeps in real time.
func noSleepInRealTime(t *testing.T, files []file) {
	packages := make(map[string][]*ast.File)
	for _, f := range files {
		if !slices.Contains(sleepers, f.path) {
			name := f.pkg + " " + f.ast.Name.Name
			packages[name] = append(packages[name], f.ast)
		}
	}
	for name, files := range packages {
		for _, fn := range sleepsOutside(files) {
			t.Errorf("%s: %s sleeps, outside of testing/synctest", name, fn)
		}
	}
}

// A use is how a function is used in its package.
type use struct {
	sleeps  bool     // it calls time.Sleep, and not in a bubble
	bubbled bool     // a bubble calls it
	callers []string // the functions that call it outside of bubbles
}

// sleepsOutside returns the functions of a package that call time.Sleep where no
// bubble is around: not in the function itself, and not around all its callers.
func sleepsOutside(files []*ast.File) (names []string) {
	uses := make(map[string]*use)
	of := func(name string) *use {
		if uses[name] == nil {
			uses[name] = new(use)
		}
		return uses[name]
	}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			this := fn.Name.Name
			if fn.Recv != nil {
				this = "." + this
			}
			mentions(fn.Body, false, func(name string, bubbled bool) {
				switch {
				case name == "time.Sleep":
					of(this).sleeps = of(this).sleeps || !bubbled
				case bubbled:
					of(name).bubbled = true
				default:
					of(name).callers = append(of(name).callers, this)
				}
			})
		}
	}
	for name, u := range uses {
		if u.sleeps && !alwaysBubbled(uses, name, nil) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// alwaysBubbled reports whether a function runs in bubbles alone. Seen are the
// functions that the question comes from.
func alwaysBubbled(uses map[string]*use, name string, seen []string) bool {
	u := uses[name]
	if slices.Contains(seen, name) {
		return true
	}
	for _, caller := range u.callers {
		if uses[caller] == nil || !alwaysBubbled(uses, caller, append(seen, name)) {
			return false
		}
	}
	return u.bubbled || len(u.callers) > 0
}

// mentions calls f with each name in the code that may be a function, and
// whether it stands in what a bubble is given to run.
func mentions(n ast.Node, bubbled bool, f func(name string, bubbled bool)) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if !bubbled && slices.Contains(bubbles, called(n.Fun)) {
				for _, arg := range n.Args {
					mentions(arg, true, f)
				}
				return false
			}
		case *ast.SelectorExpr:
			if name := called(n); name == "time.Sleep" {
				f(name, bubbled)
			} else {
				f("."+n.Sel.Name, bubbled) // a method, of whatever type
			}
			mentions(n.X, bubbled, f)
			return false
		case *ast.Ident:
			f(n.Name, bubbled)
		}
		return true
	})
}

// called returns the name of a function, with its package's where it has one.
func called(fn ast.Expr) string {
	switch fn := fn.(type) {
	case *ast.Ident:
		return fn.Name
	case *ast.SelectorExpr:
		if x, ok := fn.X.(*ast.Ident); ok {
			return x.Name + "." + fn.Sel.Name
		}
	}
	return ""
}

func TestSleepsAreFoundByFunction(t *testing.T) {
	for src, want := range map[string][]string{
		`func TestA(t T) { time.Sleep(1) }`:                                                                             {"TestA"},
		`func TestA(t T) { synctest.Test(t, func(t T) { time.Sleep(1) }) }`:                                             nil,
		`func TestA(t T) { synctest.Test(t, func(t T) { wait() }) }; func wait() { time.Sleep(1) }`:                     nil,
		`func TestA(t T) { synctest.Test(t, func(t T) { a() }) }; func a() { r.b() }; func (r R) b() { time.Sleep(1) }`: nil,
		`func TestA(t T) { synctest.Test(t, func(t T) { r.b() }); b := 1; _ = b }; func (r R) b() { time.Sleep(1) }`:    nil,
		`func TestA(t T) { synctest.Test(t, func(t T) {}); time.Sleep(1) }`:                                             {"TestA"},
		`func TestA(t T) { bubble(t, wait) }; func TestB(t T) { wait() }; func wait() { time.Sleep(1) }`:                {"wait"},
		`func TestA(t T) { bubble(t, wait) }; func wait() { time.Sleep(1) }`:                                            nil,
		`func wait() { time.Sleep(1) }`:                                                                                 {"wait"},
		`func a() { a(); time.Sleep(1) }; func TestA(t T) { bubble(t, a) }`:                                             nil,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x_test.go", "package x; "+src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := sleepsOutside([]*ast.File{f}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
}

package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// connTypes are what makes a struct a wrapper around a connection when it is
// embedded.
var connTypes = []string{"net.Conn", "net.TCPConn", "tls.Conn", "sni.Conn", "duplex.Conn", "io.ReadWriteCloser"}

// halfClosed are those of them that have CloseWrite to promote.
var halfClosed = []string{"net.TCPConn", "tls.Conn", "sni.Conn", "duplex.Conn"}

// A wrapper that hides CloseWrite turns every half-close into a hang or a cut.
// So each forwards it, and says so to the compiler.
func wrappersForwardCloseWrite(t *testing.T, files []file) {
	type wrapper struct{ path, embeds string }
	wrappers := make(map[string]wrapper) // by folder and name
	forwards, asserted := make(map[string]bool), make(map[string]bool)
	methods := make(map[string][]string)
	for _, f := range files {
		if f.test || strings.HasPrefix(f.pkg, "e2e") || f.pkg == "internal/memconn" { // of tests alone
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					name := f.pkg + "." + base(d.Recv.List[0].Type)
					methods[name] = append(methods[name], d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if c := embedded(s); c != "" {
							wrappers[f.pkg+"."+s.Name.Name] = wrapper{f.path, c}
							forwards[f.pkg+"."+s.Name.Name] = slices.Contains(halfClosed, c)
						}
					case *ast.ValueSpec:
						if d.Tok == token.VAR && s.Names[0].Name == "_" && len(s.Values) == 1 {
							if call, ok := s.Values[0].(*ast.CallExpr); ok && isHalfClose(s.Type) {
								asserted[f.pkg+"."+base(call.Fun)] = true
							}
						}
					}
				}
			}
		}
	}
	for name, m := range methods { // connections that embed nothing
		if slices.Contains(m, "Read") && slices.Contains(m, "Write") && slices.Contains(m, "SetReadDeadline") {
			if _, ok := wrappers[name]; !ok {
				wrappers[name] = wrapper{name, "nothing"}
			}
		}
		if slices.Contains(m, "CloseWrite") {
			forwards[name] = true
		}
	}
	if len(wrappers) == 0 {
		t.Fatal("no wrapper found")
	}
	for name, w := range wrappers {
		t.Logf("%s embeds %s", name, w.embeds)
		if !forwards[name] {
			t.Errorf("%s: %s embeds %s and has no CloseWrite", w.path, name, w.embeds)
		}
		if !asserted[name] {
			t.Errorf("%s: nothing asserts that *%s has CloseWrite", w.path, name)
		}
	}
}

// base is the name of a type without pointer and parentheses.
func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.ParenExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return base(e.X) + "." + e.Sel.Name
	}
	return ""
}

// embedded returns which connection a struct embeds, if any.
func embedded(s *ast.TypeSpec) string {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return ""
	}
	for _, field := range st.Fields.List {
		if c := base(field.Type); len(field.Names) == 0 && slices.Contains(connTypes, c) {
			return c
		}
	}
	return ""
}

// isHalfClose reports whether a type is an interface with CloseWrite, by name
// or as it is written.
func isHalfClose(e ast.Expr) bool {
	if i, ok := e.(*ast.InterfaceType); ok {
		return slices.ContainsFunc(i.Methods.List, func(m *ast.Field) bool {
			return len(m.Names) == 1 && m.Names[0].Name == "CloseWrite"
		})
	}
	c := base(e)
	return c == "Conn" || slices.Contains(halfClosed, c)
}

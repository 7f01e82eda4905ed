package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"keystay/internal/fields"
	"keystay/internal/urlpath"
)

// An asked is what a request asks for, as far as the rules for it depend on that.
type asked struct {
	methods []string    // in upper case: its own, and those that it may be taken for
	fields  http.Header // Destination and Depth
	path    string
	plain   bool     // all programs read the path alike
	passes  []string // the ids of the rules that it had to pass
}

// newAsked returns what a request asks for, by its path in its clean form.
func newAsked(r *http.Request, path string, plain bool) *asked {
	a := &asked{methods: []string{strings.ToUpper(r.Method)}, path: path, plain: plain}
	for name, values := range r.Header {
		if isOverride(name) {
			for _, v := range values {
				a.methods = append(a.methods, strings.ToUpper(v))
			}
		}
	}
	for _, name := range []string{"Destination", "Depth"} {
		if values := r.Header[name]; len(values) > 0 {
			if a.fields == nil {
				a.fields = make(http.Header)
			}
			a.fields[name] = values
		}
	}
	return a
}

// isOverride reports whether a field, in any spelling that services take for it, names the
// method that a request is to be taken for: frameworks heed these where clients know GET and
// POST alone.
func isOverride(name string) bool {
	return fields.Same(name, "X-HTTP-Method-Override") || fields.Same(name, "X-HTTP-Method") || fields.Same(name, "X-Method-Override")
}

// rulesOf returns the rules that a request has to pass: those for its path, and for the
// path that WebDAV's Destination has (RFC 4918, section 10.3), where something is to be
// written; where the request is for whole folders, also those below. It returns false
// where the path or Destination is in doubt.
func (g *Gate) rulesOf(a *asked) (rules []*rule, ok bool) {
	if !g.byPath {
		return g.rulesFor(a.path), true
	}
	if !a.plain || isSlow(a.path) {
		return nil, false
	}
	rules = g.rulesFor(a.path)
	paths := []string{a.path}
	for _, to := range a.fields["Destination"] {
		path, plain := destination(to)
		if !plain || isSlow(path) {
			return nil, false
		}
		paths = append(paths, path)
		rules = append(rules, g.rulesFor(path)...)
	}
	if isOfFolders(a) {
		for _, path := range paths {
			rules = append(rules, g.rulesBelow(path)...)
		}
	}
	var once []*rule
	for _, one := range rules {
		if !slices.Contains(once, one) {
			once = append(once, one)
		}
	}
	return once, true
}

// maxFolded is how long a path may be, in bytes, that has characters beyond ASCII: as long
// as Linux takes one. These have other spellings, and 64 KiB of some take a tenth of a
// second and megabytes to look at, which a visitor may send with each request.
const maxFolded = 4096

// isSlow reports whether a path is not looked at, since that takes too long.
func isSlow(path string) bool {
	return len(path) > maxFolded && strings.ContainsFunc(path, func(r rune) bool { return r >= utf8.RuneSelf })
}

// destination returns the path of a Destination, which is a URL or a path, in its clean
// form. Plain is false where services may read it in different ways: of //a/b some have the
// path /b, and others /a/b, since they take two slashes for one; and a query or a fragment,
// which it does not have, may be a part of the path.
func destination(to string) (clean string, plain bool) {
	u, err := url.Parse(to)
	if err != nil || u.Opaque != "" || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "?#") {
		return "", false
	}
	return urlpath.Clean(u.EscapedPath())
}

// isOfFolders reports whether a request is one of WebDAV that a service answers, for a
// folder, with all that is in it (RFC 4918, sections 9.1, 9.6, 9.8 to 9.10; RFC 3253,
// section 3.6; RFC 5323).
func isOfFolders(a *asked) bool {
	return slices.ContainsFunc(a.methods, func(method string) bool {
		switch method {
		case "COPY", "MOVE", "DELETE":
			return true
		case "PROPFIND", "SEARCH", "LOCK", "REPORT":
			depth := a.fields["Depth"]
			if len(depth) == 0 {
				return method != "REPORT" // that of others is infinity
			}
			return len(depth) > 1 || depth[0] != "0" && depth[0] != "1"
		}
		return false
	})
}

// rulesBelow returns the rules with a path that a service may take for one at or below
// a path.
func (g *Gate) rulesBelow(path string) (below []*rule) {
	path = urlpath.Fold(path)
	for _, r := range g.rules {
		if slices.ContainsFunc(r.paths, func(p prefix) bool { return urlpath.Has(p.folded, path) }) {
			below = append(below, r)
		}
	}
	return below
}

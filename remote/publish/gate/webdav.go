package gate

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"keystay/internal/fields"
	"keystay/internal/urlpath"
)

// An asked is what a request asks for, as far as the rules for it depend on that.
type asked struct {
	methods []string    // those of ofFolders that it has or may be taken for, each once
	fields  http.Header // Destination and Depth
	sources []string    // what is to be copied from elsewhere, see fields.OfSource and OfManifest
	// Accounts are those that Destination and sources may be in, besides that of the path: see
	// fields.OfAccount.
	accounts []string
	path     string
	plain    bool     // all programs read the path alike
	passes   []string // the ids of the rules that it had to pass
}

// newAsked returns what a request asks for, by its path in its clean form.
func newAsked(r *http.Request, path string, plain bool) *asked {
	a := &asked{path: path, plain: plain}
	a.addMethods(r.Method)
	for value := range overridesIn(r.URL.RawQuery) {
		a.addMethods(value)
	}
	for name, values := range r.Header {
		switch {
		case fields.OfMethod(name):
			for _, v := range values {
				a.addMethods(v)
			}
		case fields.OfSource(name):
			a.sources = append(a.sources, values...)
		case fields.OfAccount(name):
			a.accounts = append(a.accounts, values...)
		case fields.OfManifest(name):
			for _, v := range values { // all that begins so is in this folder
				a.sources = append(a.sources, v[:strings.LastIndexByte(v, '/')+1])
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

// rulesOf returns the rules that a request has to pass: those for its path, and for the
// path that WebDAV's Destination has (RFC 4918, section 10.3), where something is to be
// written, and those from which something is to be copied; where the request is for whole
// folders, also those below. It returns false where one of the paths is in doubt, or where
// there are more of them than anybody needs, and than are looked at in a short time.
func (g *Gate) rulesOf(a *asked) (rules []*rule, ok bool) {
	const most = 4
	if !g.byPath {
		return g.rules, true // one at most
	}
	if !a.plain || isSlow(a.path) || len(a.fields["Destination"])+len(a.sources)+len(a.accounts) > most {
		return nil, false
	}
	here := spelt(a.path)
	whole := isOfFolders(a)
	rules = g.rulesAt(here, whole)
	left := maxPlaces
	add := func(root spelling, to string, whole bool) (plain bool) {
		for path, plain := range places(root, to, &left) {
			if !plain {
				return false
			}
			rules = append(rules, g.rulesAt(path, whole)...)
		}
		return true
	}
	for _, to := range a.withAccounts(a.fields["Destination"]) {
		root := here // some storages have a folder above the request's path for their root
		if isURL(to) {
			root = spelt("/")
		}
		if !add(root, to, whole) {
			return nil, false
		}
	}
	for _, value := range a.withAccounts(a.sources) {
		for _, from := range sources(value) {
			if !add(here, from, true) {
				return nil, false
			}
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

// withAccounts returns paths in fields, and each as it is in one of the accounts.
func (a *asked) withAccounts(paths []string) []string {
	all := slices.Clone(paths)
	for _, account := range a.accounts {
		for _, p := range paths {
			if !isURL(p) {
				all = append(all, account+"/"+strings.TrimPrefix(p, "/"))
			}
		}
	}
	return all
}

// maxFolded is how long a path may be, in bytes, that has characters beyond ASCII: as long
// as Linux takes one. These have other spellings, and 64 KiB of some take a tenth of a
// second and megabytes to look at, which a visitor may send with each request.
const maxFolded = 4096

// isSlow reports whether a path is not looked at, since that takes too long.
func isSlow(path string) bool {
	return len(path) > maxFolded && strings.ContainsFunc(path, isBeyondASCII)
}

func isBeyondASCII(r rune) bool { return r >= utf8.RuneSelf }

// ofFolders are the methods that isOfFolders looks at.
var ofFolders = []string{"COPY", "MOVE", "DELETE", "UNBIND", "REBIND", "SEARCH", "LOCK", "PROPFIND", "REPORT", "UPDATE", "LABEL"}

// isOfFolders reports whether a request is one of WebDAV that a service answers, for a
// folder, with all that is in it (RFC 4918, sections 9.1, 9.6, 9.8 to 9.10; RFC 3253,
// sections 3.6, 7.1 and 8.2; RFC 5323; RFC 5842).
func isOfFolders(a *asked) bool {
	return slices.ContainsFunc(a.methods, func(method string) bool {
		depth := a.fields["Depth"]
		is := func(one string) bool { return len(depth) == 1 && depth[0] == one }
		switch method {
		case "COPY", "MOVE", "DELETE", "UNBIND", "REBIND", "SEARCH": // the body of SEARCH says how deep
			return true
		case "LOCK": // some take any other depth for infinity
			return !is("0")
		case "PROPFIND":
			return !is("0") && !is("1") && !is("1,noroot")
		case "REPORT", "UPDATE", "LABEL":
			return len(depth) > 0 && !is("0") && !is("1")
		}
		return false
	})
}

// rulesAt returns the rules for a path, and if it is a whole folder those with a path that
// a service may take for one at or below it.
func (g *Gate) rulesAt(path spelling, whole bool) []*rule {
	rules := g.rulesFor(path)
	if !whole {
		return rules
	}
	bare := urlpath.Bare(path.folded)
	for _, r := range g.rules {
		if slices.ContainsFunc(r.paths, func(p spelling) bool { return urlpath.Has(p.folded, path.folded) || urlpath.Has(p.folded, bare) }) {
			rules = append(rules, r)
		}
	}
	return rules
}

package gate

import (
	"iter"
	"net/url"
	"slices"
	"strings"

	"keystay/internal/urlpath"
)

// What a request is for is not said by its method and path alone: some fields, and a
// parameter, name another method, and some fields name a second path.

// overridesIn yields the values in a query that name a method, as in ?_method=DELETE. PHP takes a
// dot or a space before the name for an underscore, and knows _method[], so all signs in the
// name are left out, and what is behind a NUL, as PHP does.
func overridesIn(query string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
			name, value, _ := strings.Cut(pair, "=")
			if value == "" {
				continue
			}
			name, _, _ = strings.Cut(unescaped(name), "\x00")
			name = strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !isLetter(r) }), ""))
			switch strings.TrimPrefix(strings.TrimPrefix(name, "x"), "http") {
			case "method", "methodoverride", "tunneledmethod":
				if !yield(unescaped(value)) {
					return
				}
			}
		}
	}
}

// unescaped is a part of a query without escapes, but for those that are broken.
func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for ; s != ""; s = s[1:] {
		switch u, err := url.QueryUnescape(s[:min(3, len(s))]); {
		case s[0] == '%' && err == nil:
			b.WriteString(u)
			s = s[2:]
		case s[0] == '+':
			b.WriteByte(' ')
		default:
			b.WriteByte(s[0])
		}
	}
	return b.String()
}

// addMethods notes the methods that a value may be taken for, as far as isOfFolders knows
// them: some frameworks take the first of many, or the last, and leave out what is around it.
func (a *asked) addMethods(value string) {
	for m := range strings.FieldsFuncSeq(strings.ToUpper(value), func(r rune) bool {
		return !isLetter(r) && (r < '0' || '9' < r) && !strings.ContainsRune("-_.", r)
	}) {
		// The value may be long, and what is noted stays until the request ends.
		if i := slices.Index(ofFolders, m); i >= 0 && !slices.Contains(a.methods, m) {
			a.methods = append(a.methods, ofFolders[i])
		}
	}
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// isURL reports whether a value that names a path is a whole URL.
func isURL(value string) bool {
	return strings.Contains(value, "://") && !strings.HasPrefix(value, "/")
}

// sources returns what a value of a field of [fields.OfSource] may mean. It may have a query,
// which some storages know, and is escaped: some clients escape its slashes, too, and some
// servers take a plus in it for a space.
func sources(value string) []string {
	from := urlpath.UntilAny(value, "?")
	if query := strings.ReplaceAll(unescaped(value[len(from):]), `\`, "/"); strings.Contains(query, "/..") {
		from = "" // in doubt: some take it for a part of the path
	}
	if !isURL(from) {
		from = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(from)
	}
	if !strings.Contains(from, "+") {
		return []string{from}
	}
	return []string{from, strings.ReplaceAll(from, "+", " ")}
}

// maxPlaces bounds what is done for the paths in the fields of one request: it is enough for one
// as long as Linux takes it, in 32 folders.
const maxPlaces = 1 << 20

// places yields the paths that a value may be which names another one than the request's. It
// is a URL, or a path from the root of the service, with a slash before it or not; and that
// is any of the folders above the request's path. Plain is false where it is in doubt, or where
// it takes more than what is left of maxPlaces.
func places(path spelling, value string, left *int) iter.Seq2[spelling, bool] {
	const most = 32
	return func(yield func(path spelling, plain bool) bool) {
		relative := !isURL(value) && !strings.HasPrefix(value, "/")
		if relative && value != "" {
			value = "/" + value
		}
		clean, plain := urlpath.CleanURL(value)
		if relative && plain && strings.Contains(urlpath.UntilAny(clean[1:], "/"), ":") {
			plain = false // x:/a is /a as a URL
		}
		above := strings.Count(path.exact, "/")
		if plain {
			*left -= 2 * above * (len(path.exact) + len(clean))
			if strings.ContainsFunc(clean, isBeyondASCII) {
				*left -= 64 * len(clean) // about what it takes to fold it
			}
		}
		if !plain || *left < 0 || isSlow(clean) || above > most || above != strings.Count(path.folded, "/") {
			yield(spelling{}, false)
			return
		}
		to := spelt(clean)
		for i, j := 0, 0; ; { // both are at a slash
			if !yield(spelling{path.exact[:i] + to.exact, path.folded[:j] + to.folded}, true) {
				return
			}
			next := strings.IndexByte(path.exact[i+1:], '/')
			if next < 0 {
				return
			}
			i, j = i+1+next, j+1+strings.IndexByte(path.folded[j+1:], '/')
		}
	}
}

package gate

import (
	"iter"
	"net/url"
	"strings"

	"keystay/internal/urlpath"
)

// What a request is for is not said by its method and path alone: some fields, and a
// parameter, name another method, and some fields name a second path.

// overridesIn returns the methods that a query names, as in ?_method=DELETE, in upper case.
// PHP takes a dot or a space before the name for an underscore, and knows _method[], so all
// signs in the name are left out.
func overridesIn(query string) (methods []string) {
	if query == "" {
		return nil
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" || len(name) > 3*len(" x-http-method-override[]") {
			continue
		}
		switch strings.ToLower(strings.Join(strings.FieldsFunc(unescaped(name), func(r rune) bool { return !isLetter(r) }), "")) {
		case "method", "httpmethod", "methodoverride", "xhttpmethod", "xmethodoverride", "xhttpmethodoverride":
			methods = append(methods, methodsIn(unescaped(value))...)
		}
	}
	return methods
}

// unescaped is a part of a query without escapes, or as it is where one is broken.
func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// methodsIn returns the methods that a value may be taken for, in upper case: some
// frameworks take the first of many, or the last, and leave out what is around it.
func methodsIn(value string) []string {
	return strings.FieldsFunc(strings.ToUpper(value), func(r rune) bool {
		return !isLetter(r) && (r < '0' || '9' < r) && !strings.ContainsRune("-_.", r)
	})
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// sources yields the paths that a value of a field of [fields.OfSource] may be, for a request
// to a path. It
// is a URL, or a path from the root of the storage, with a slash before it or not, which is
// any of the folders above the request's path. Plain is false where that is in doubt.
func sources(path, from string) iter.Seq2[string, bool] {
	const most = 32
	return func(yield func(string, bool) bool) {
		from = urlpath.UntilAny(from, "?")
		if !strings.Contains(from, "://") && !strings.HasPrefix(from, "/") {
			from = "/" + from
		}
		from, plain := urlpath.CleanURL(from)
		if plain = plain && from != "/" && strings.Count(path, "/") <= most; !plain {
			yield(from, false)
			return
		}
		for i := range len(path) {
			if path[i] == '/' && !yield(path[:i]+from, true) {
				return
			}
		}
	}
}

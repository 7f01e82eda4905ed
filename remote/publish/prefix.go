package publish

import (
	"net/http"
	"strings"

	"keystay/internal/urlpath"
)

// A service behind a route with Strip does not know the prefix that its pages have
// for visitors, unless it looks at X-Forwarded-Prefix.

// addPrefix puts the stripped prefix in front of where the service sends the visitor
// within its own host, unless it is there already. Where the service has named its
// host, renameAnswer has put the visitor's in its place before.
func (r *route) addPrefix(h http.Header, visitors string) {
	prefix := r.prefix
	if prefix == "" {
		return
	}
	for _, field := range []string{"Location", "Content-Location"} {
		for i, v := range h[field] {
			origin, path := splitOrigin(v)
			if origin != "" && !equalFoldASCII(origin, "https://"+visitors) && !equalFoldASCII(origin, "http://"+visitors) && !equalFoldASCII(origin, "//"+visitors) {
				continue
			}
			switch {
			case origin != "" && urlpath.UntilAny(path, "?#") == "":
				h[field][i] = origin + prefix + "/" + path
			case strings.HasPrefix(path, "/") && !isBelow(path, prefix):
				h[field][i] = origin + prefix + path
			}
		}
	}
}

// cutPrefix takes the stripped prefix off the URLs of WebDAV, which servers compare
// with what they are asked for (RFC 4918, sections 10.3 and 10.4). A Destination that
// does not begin with it is dropped: it is no place of the service, which would take it
// for one that a gate knows by another path.
func (r *route) cutPrefix(h http.Header, visitors string) {
	prefix := r.prefix
	if prefix == "" {
		return
	}
	own := "https://" + visitors
	var to []string
	for _, v := range h["Destination"] {
		if origin, path := splitOrigin(v); (origin == "" || equalFoldASCII(origin, own)) && isBelow(path, prefix) {
			to = append(to, origin+atRoot(path[len(prefix):]))
		}
	}
	if delete(h, "Destination"); len(to) > 0 {
		h["Destination"] = to
	}
	for i, v := range h["If"] {
		h["If"][i] = strings.NewReplacer("<"+own+prefix+"/", "<"+own+"/", "<"+prefix+"/", "</").Replace(v)
	}
}

// splitOrigin parts a reference (RFC 3986, section 4.1) into scheme and host, which
// may be missing, and the rest. A relative path is all rest.
func splitOrigin(ref string) (origin, rest string) {
	scheme, after, found := strings.Cut(ref, "//")
	if !found || scheme != "" && (!strings.HasSuffix(scheme, ":") || strings.ContainsAny(scheme, "/?#")) {
		return "", ref
	}
	host := urlpath.UntilAny(after, "/?#")
	return ref[:len(ref)-len(after)+len(host)], after[len(host):]
}

// isBelow reports whether a path, with what is behind it, is prefix or below it.
func isBelow(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0)
}

// atRoot is what is left of a path behind a prefix, as a path.
func atRoot(rest string) string {
	if strings.HasPrefix(rest, "/") {
		return rest
	}
	return "/" + rest
}

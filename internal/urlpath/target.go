package urlpath

import (
	"net/http"
	"net/url"
	"strings"
)

// Target returns path and query of a request's target as the visitor has sent
// them; the query begins with its question mark, if there is one. It takes
// origin-form, absolute-form in HTTP/1 (RFC 9112, section 3.2), and the asterisk
// of OPTIONS. ok is false for all else, such as the rootless x:y, which net/url
// calls opaque: passed on, it would choose the host at the next server.
func Target(r *http.Request) (path, query string, ok bool) {
	t := r.RequestURI
	// net/http refuses control characters, and in HTTP/1 spaces. A number sign
	// would be the end of the path for some services, and not for others.
	if strings.ContainsAny(t, " \t#") {
		return "", "", false
	}
	switch {
	case strings.HasPrefix(t, "/"):
	case t == "*":
		return t, "", r.Method == http.MethodOptions
	case r.ProtoMajor == 1:
		scheme, rest, found := strings.Cut(t, "://")
		if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", "", false
		}
		t = rest[len(UntilAny(rest, "/?")):]
		// r.Host, which the caller checks, comes from the same place.
		if authority := rest[:len(rest)-len(t)]; authority == "" || authority != r.URL.Host || r.URL.User != nil {
			return "", "", false
		}
	default:
		return "", "", false
	}
	path = UntilAny(t, "?")
	query = t[len(path):]
	if path == "" {
		path = "/"
	}
	return path, query, true
}

// IsForProxies reports whether a method is one that a service must not be given, in any
// case: CONNECT names another host, and TRACE shows what stands before the service.
func IsForProxies(method string) bool {
	return strings.EqualFold(method, http.MethodConnect) || strings.EqualFold(method, http.MethodTrace)
}

// Outgoing returns the URL that leads to a scheme and host with a path and a query of
// Target, which net/http then writes as they are.
func Outgoing(scheme, host, path, query string) *url.URL {
	u := &url.URL{Scheme: scheme, Host: host}
	if query != "" {
		u.RawQuery = query[1:]
		u.ForceQuery = u.RawQuery == ""
	}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return u
	}
	// An opaque //a would get the scheme in front of it. net/url keeps a RawPath
	// that has no bytes but those of RFC 3986.
	u.RawPath = EscapeOthers(path)
	u.Path, _ = url.PathUnescape(u.RawPath) // net/http has read it before
	return u
}

// EscapeOthers percent-encodes the bytes of a path that RFC 3986 does not allow
// there, and leaves the rest as it is.
func EscapeOthers(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@[]%/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// UntilAny is the part of s before the first of chars.
func UntilAny(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i]
	}
	return s
}

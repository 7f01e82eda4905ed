package publish

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"keystay/internal/hostname"
	"keystay/internal/page"
)

// refusal returns the page for a request that the local service does not get,
// or nil. It leaves the name in r.Host as the service is to see it: in lower
// case, without a last dot, with the port that the visitor gave.
func refusal(r *http.Request, domain string) *page.Page {
	host, ok := ownAuthority(r.Host, domain)
	if !ok {
		return &page.Page{
			Status: http.StatusMisdirectedRequest,
			Title:  "This connection is for another name",
			Text:   "The connection was made for " + domain + ", and the request names another host.",
		}
	}
	for _, h := range r.Header["Host"] { // over HTTP/2, beside :authority (RFC 9113, section 8.3.1)
		if other, ok := ownAuthority(h, domain); !ok || other != host {
			return malformed("It names two hosts.")
		}
	}
	_, _, ok = target(r)
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return &page.Page{
			Status: http.StatusMethodNotAllowed,
			Title:  "This method is not passed on",
			Text:   "CONNECT and TRACE are for proxies, and no request for a page.",
		}
	case r.ProtoMajor == 2 && r.Method == "PRI": // the preface of HTTP/2, in HTTP/1.1
		return &page.Page{
			Status: http.StatusHTTPVersionNotSupported,
			Title:  "HTTP/2 was not agreed on",
			Text:   "HTTP/2 begins with its name in the TLS handshake (ALPN h2).",
		}
	case !ok:
		return malformed("Its target is no path.")
	case !isToken(r.Method):
		return malformed("Its method is no word.")
	}
	r.Host = host
	return nil
}

func malformed(why string) *page.Page {
	return &page.Page{Status: http.StatusBadRequest, Title: "This request is not well formed", Text: why}
}

// ownAuthority returns the host and port of a request as the service is to see
// it, if it is domain in any spelling: in any case, with a last dot, with a
// port of digits. A request without a host is for domain.
func ownAuthority(authority, domain string) (string, bool) {
	if authority == "" { // else the local service would see its own address there
		return domain, true
	}
	name, err := hostname.OfHeader(authority)
	_, port, _ := strings.Cut(authority, ":")
	if err != nil || name != domain || len(port) > 5 {
		return "", false
	}
	if port == "" {
		return domain, true
	}
	return domain + ":" + port, true
}

// target returns path and query of a request's target as the visitor has sent
// them; the query begins with its question mark, if there is one. It takes
// origin-form, absolute-form in HTTP/1 (RFC 9112, section 3.2), and the asterisk
// of OPTIONS. ok is false for all else, such as the rootless x:y, which net/url
// calls opaque.
func target(r *http.Request) (path, query string, ok bool) {
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
		t = rest[len(untilAny(rest, "/?")):]
		// r.Host, which has been checked, comes from the same place.
		if authority := rest[:len(rest)-len(t)]; authority == "" || authority != r.URL.Host || r.URL.User != nil {
			return "", "", false
		}
	default:
		return "", "", false
	}
	path = untilAny(t, "?")
	query = t[len(path):]
	if path == "" {
		path = "/"
	}
	return path, query, true
}

// untilAny is the part of s before the first of chars.
func untilAny(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i]
	}
	return s
}

// isToken reports whether s is a method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// outgoingURL leads to the target's scheme and host with a path and a query that
// net/http writes as they are.
func (t *Target) outgoingURL(path, query string) *url.URL {
	u := &url.URL{Scheme: t.URL.Scheme, Host: t.URL.Host}
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
	u.RawPath = escapeOthers(path)
	u.Path, _ = url.PathUnescape(u.RawPath) // net/http has read it before
	return u
}

// escapeOthers percent-encodes the bytes of a path that RFC 3986 does not allow
// there, and leaves the rest as it is.
func escapeOthers(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if isAlphanumeric(c) || strings.IndexByte("-._~!$&'()*+,;=:@[]%/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// dropUpgrade takes out an Upgrade that must not reach the service: another HTTP
// inside the connection would be past everything here, and a token that is no
// text would be taken for the service's mistake.
func dropUpgrade(h http.Header) {
	if up := h.Get("Upgrade"); strings.HasPrefix(strings.ToLower(up), "h2") || !printable(up) {
		h.Del("Upgrade")
		h.Del("Http2-Settings")
	}
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// dropFraming takes out of trailers what must not be there (RFC 9110, section
// 6.5.1): what frames and routes a message, and what says who asks.
func dropFraming(trailer http.Header) {
	for name := range trailer {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Expect",
			"Content-Type", "Content-Encoding", "Content-Range", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Range", "Max-Forwards":
			delete(trailer, name)
		}
	}
}

// rewrite makes the request that the service gets out of the visitor's.
func (t *Target) rewrite(r *httputil.ProxyRequest) {
	path, query, _ := target(r.In) // it has been checked
	r.Out.URL = t.outgoingURL(path, query)
	r.Out.Host = t.serviceHost(r.In.Host)
	h := r.Out.Header
	dropFrontFields(h)
	t.renameRequest(h, r.In.Host)
	dropFrontFields(r.In.Trailer) // so far there are names alone, if any
	dropFraming(r.In.Trailer)
	r.Out.Trailer = r.In.Trailer // filled in when the body has been read
	visitor := t.visitorAddress(r.In.RemoteAddr)
	h.Set("X-Forwarded-For", visitor)
	h.Set("X-Forwarded-Host", r.In.Host)
	h.Set("X-Forwarded-Proto", "https")
	h.Set("Forwarded", forwarded(visitor, r.In.Host))
	if r.In.ContentLength == 0 && len(h["Content-Length"]) > 0 && r.In.Method != http.MethodGet && r.In.Method != http.MethodHead {
		// These make net/http write the Content-Length: 0.
		r.Out.Body, r.Out.TransferEncoding = http.NoBody, []string{"identity"}
	}
}

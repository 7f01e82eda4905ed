package publish

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

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
	route := exchangeOf(r.In).route
	r.Out.URL = t.outgoingURL(route.strip(path), query)
	r.Out.Host = t.serviceHost(r.In.Host)
	h := r.Out.Header
	route.cutPrefix(h, r.In.Host)
	t.renameRequest(h, r.In.Host)
	dropFrontFields(r.In.Trailer) // so far there are names alone, if any
	dropFraming(r.In.Trailer)
	r.Out.Trailer = r.In.Trailer // filled in when the body has been read
	visitor := t.visitorAddress(r.In.RemoteAddr)
	h.Set("X-Forwarded-For", visitor)
	h.Set("X-Forwarded-Host", r.In.Host)
	h.Set("X-Forwarded-Proto", "https")
	h.Set("Forwarded", forwarded(visitor, r.In.Host))
	if route.prefix != "" {
		h.Set("X-Forwarded-Prefix", route.prefix)
	}
	if r.In.ContentLength == 0 && len(h["Content-Length"]) > 0 && r.In.Method != http.MethodGet && r.In.Method != http.MethodHead {
		// These make net/http write the Content-Length: 0.
		r.Out.Body, r.Out.TransferEncoding = http.NoBody, []string{"identity"}
	}
}

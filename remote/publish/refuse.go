package publish

import (
	"net/http"
	"strconv"
	"strings"

	"keystay/internal/hostname"
	"keystay/internal/page"
	"keystay/internal/urlpath"
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
	_, _, ok = urlpath.Target(r)
	switch {
	case urlpath.IsForProxies(r.Method):
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
	case r.ProtoMajor == 2 && !isAsLongAsItSays(r):
		return malformed("It has another length than it says.")
	}
	r.Host = host
	return nil
}

// isAsLongAsItSays reports whether the Content-Length of a request over HTTP/2 is one, and
// that of its body, as far as there is none (RFC 9113, section 8.1.1). Package net/http
// looks at the frames of a body, and at nothing else: without this a service would get what
// was cut short as a whole request.
func isAsLongAsItSays(r *http.Request) bool {
	for _, v := range r.Header["Content-Length"] {
		if n, err := strconv.ParseUint(v, 10, 63); err != nil || int64(n) != r.ContentLength {
			return false
		}
	}
	return true
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

// isToken reports whether s is a method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

package inspect

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// policy lets the browser take what the page brings, run nothing that stands in it, and
// ask nobody else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler: it looks at whose request it is, and then at the
// token in its path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // without one there would be no Origin
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if why := foreign(r); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	token, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		http.Error(w, "the address has no token of this run: the remote shows the whole address when it starts, and remote status shows it again", http.StatusForbidden)
		return
	}
	http.StripPrefix("/"+s.token, s.mux).ServeHTTP(w, r)
}

// foreign returns why a request is not one of this machine's to this page, or "". A page
// from elsewhere that a browser here shows can make it send requests, and may have led
// its own name to this address: but it cannot choose Host, Origin and Sec-Fetch-Site.
func foreign(r *http.Request) string {
	if !isLoopbackHost(r.Host) {
		return "the inspector is asked for by a loopback address, and this is another name"
	}
	for _, field := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(field)) > 0 {
			return "the inspector is not for requests that come through a proxy"
		}
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return "this did not come from a page of the inspector"
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Scheme != "http" || u.Host == "" || u.Host != r.Host {
			return "this did not come from a page of the inspector"
		}
	}
	return ""
}

// isLoopbackHost reports whether a Host is an address of this machine that no DNS is
// asked for. The port may be another one, which is forwarded.
func isLoopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

package gate

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"keystay/internal/page"
	"keystay/internal/signin"
)

// rawPath is the path of a request as the visitor has sent it, without the query.
func rawPath(r *http.Request) string {
	t := r.RequestURI
	if t == "" { // a request that no server has read
		t = r.URL.RequestURI()
	}
	if !strings.HasPrefix(t, "/") { // absolute-form (RFC 9112, section 3.2.2)
		if _, rest, ok := strings.Cut(t, "://"); ok {
			t = rest[len(beforeAny(rest, "/?")):]
			if !strings.HasPrefix(t, "/") {
				t = "/" + t
			}
		}
	}
	return beforeAny(t, "?")
}

// beforeAny is the part of s before the first of chars.
func beforeAny(s, chars string) string {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i]
	}
	return s
}

// address is where a visitor comes from, by the relay's word; the zero Addr where that
// is no address.
func address(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// isNavigation reports whether a person's browser asks for a page to show. Where the
// browser does not say so (Fetch Metadata), whoever takes HTML does.
func isNavigation(r *http.Request) bool {
	if isUpgrade(r) || r.Header.Get("X-Requested-With") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return page.TakesHTML(r)
}

// isFromPage reports whether a page in a browser asks, and no person and no program.
func isFromPage(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode != "" && mode != "navigate" || r.Header.Get("X-Requested-With") != "" || r.Header.Get("Origin") != ""
}

// isUpgrade reports whether a request is for a WebSocket or another protocol, over
// HTTP/1 or HTTP/2 (RFC 8441).
func isUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// isOwnOrigin reports whether a request is one that a sign-in counts for: no page of
// another site has caused it, but by a link or an address that somebody has opened.
// SameSite=Lax says the same for cookies. But it lets pages of other names below the
// same domain through, which on a relay belong to other people.
func isOwnOrigin(r *http.Request) bool {
	site, origin := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	switch {
	case len(site) > 1 || len(origin) > 1:
		return false
	case len(origin) == 1 && (len(site) == 0 || isUpgrade(r)): // browsers do not agree on the site of a WebSocket
		return isOrigin(origin[0], r.Host)
	case len(site) == 0 || site[0] == "same-origin" || site[0] == "none":
		return true
	}
	opened := r.Method == http.MethodGet || r.Method == http.MethodHead
	return opened && r.Header.Get("Sec-Fetch-Mode") == "navigate" && !isUpgrade(r)
}

// isOrigin reports whether an origin (RFC 6454, section 6.1) is https of a host.
func isOrigin(origin, host string) bool {
	return strings.EqualFold(strings.TrimSuffix(origin, ":443"), "https://"+strings.TrimSuffix(host, ":443"))
}

// parseBasic reads an Authorization field of the Basic scheme (RFC 7617). It takes one
// spelling of base64 alone, with its padding, and UTF-8.
func parseBasic(field string) (user, password string, ok bool) {
	scheme, rest, _ := strings.Cut(field, " ")
	rest = strings.TrimLeft(rest, " ")
	if !strings.EqualFold(scheme, "Basic") || len(rest) > 2*(MaxUser+signin.MaxPassword) || strings.ContainsAny(rest, "\r\n") {
		return "", "", false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(rest)
	if err != nil || !utf8.Valid(b) {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(b), ":")
	return user, password, ok && len(user) <= MaxUser && len(password) <= signin.MaxPassword
}

// local returns where a visitor is sent back to: a path of this very host with its
// query, or "/" where text is anything else or a page of the gate.
func local(text string) string {
	if len(text) > maxReturn || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f || r == utf8.RuneError }) {
		return "/"
	}
	u, err := url.ParseRequestURI(text)
	if err != nil || u.Host != "" || u.User != nil || u.Scheme != "" || isOwnPath(beforeAny(text, "?#")) {
		return "/"
	}
	return text
}

// maxReturn is the longest path with query that a visitor is sent back to, in bytes.
const maxReturn = 2048

package page

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// isOwn reports whether a request that changes something comes from a page of this
// relay, by what browsers say: Sec-Fetch-Site, and Origin. One that says neither is
// none: programs have the control API.
func isOwn(r *http.Request) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	if len(origins)+len(sites) == 0 || len(origins) > 1 || len(sites) > 1 {
		return false
	}
	if len(sites) == 1 && sites[0] != "same-origin" {
		return false
	}
	if len(origins) == 1 {
		u, err := url.Parse(origins[0])
		return err == nil && u.Host == r.Host && u.Host != ""
	}
	return true
}

// isHere reports whether a request comes from this machine, and not through a proxy on
// it, nor through a port that is forwarded to it: whoever asks for the address of
// another network is elsewhere.
func (p *Page) isHere(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil || !isLoopback(local.String()) || !isLoopback(r.RemoteAddr) {
		return false
	}
	for _, field := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(field) != "" {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && !a.Unmap().IsLoopback() {
		return false
	}
	return !slices.Contains(p.Hosts, strings.TrimSuffix(strings.ToLower(host), "."))
}

func isLoopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// sees reports whether whoever sends a request may see what the page shows: on this
// machine everybody may, as with /metrics, and from elsewhere those who have signed in.
func (p *Page) sees(r *http.Request) bool {
	return p.isHere(r) || p.session(r) != nil
}

// admit reports whether a request is to be answered with what the page shows, and
// answers it otherwise.
func (p *Page) admit(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case p.sees(r):
		return true
	case p.users.Load() == nil:
		p.show(w, r, view{Title: "This page is not for your network", Name: "problem", Status: http.StatusForbidden, Text: "It shows names and addresses of devices. " + howToSignIn}, nil)
	default:
		sendToSignIn(w, r)
	}
	return false
}

// howToSignIn says how people can sign in.
const howToSignIn = "To let somebody sign in, set admin.password_file in the relay's file to one with a line of htpasswd -nB -C 10 NAME."

// sendToSignIn leads to the page to sign in on, and from there back.
func sendToSignIn(w http.ResponseWriter, r *http.Request) {
	to := r.URL.RequestURI()
	if r.Method != http.MethodGet || isPart(r) { // where it was asked from
		to = "/"
		if u, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil {
			to = u.RequestURI()
		}
	}
	target := "/sign-in?to=" + url.QueryEscape(ownPath(to))
	if isPart(r) {
		w.Header().Set("HX-Redirect", target)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// ownPath returns a path of this page with its query, or "/" for what is none.
func ownPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(s, "/") ||
		strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") || len(s) > 2048 {
		return "/"
	}
	return u.RequestURI()
}

// isPart reports whether script of the page asks for a part of it.
func isPart(r *http.Request) bool {
	return r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-History-Restore-Request") != "true"
}

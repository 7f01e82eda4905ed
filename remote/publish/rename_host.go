package publish

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"keystay/internal/urlpath"
)

// What HostHeader can say besides a name.
const (
	HostKeep   = "keep"   // the service sees the visitor's Host
	HostTarget = "target" // it sees the host of the Target's URL
)

// serviceHost is the Host that the service sees, for a visitor's.
func (t *Target) serviceHost(visitors string) string {
	switch t.HostHeader {
	case "", HostKeep:
		return visitors
	case HostTarget:
		return t.URL.Host
	}
	return t.HostHeader
}

// renameRequest puts the service's own scheme and host where a request's fields
// name the visitor's: in Destination and If always, which WebDAV servers compare
// with what they are reached by (RFC 4918, section 9.8.5), and in Origin and
// Referer where the Host is another, with which services compare these.
func (t *Target) renameRequest(h http.Header, visitors string) {
	host := t.serviceHost(visitors)
	from, to := "https://"+visitors, t.URL.Scheme+"://"+host
	rename(h["Destination"], from, to)
	for i, v := range h["If"] {
		h["If"][i] = strings.ReplaceAll(v, "<"+from+"/", "<"+to+"/")
	}
	if host != visitors {
		t.dropNamesake(h, host, visitors)
		rename(h["Origin"], from, to)
		rename(h["Referer"], from, to)
	}
}

// dropNamesake keeps the service from taking another page for its own. What is at
// the service's host for the visitor, such as localhost:3000, is another server: a
// page of that one is no page of the service. Its Origin becomes null, as that of
// a page without one (RFC 6454, section 7.3), and its Referer goes.
func (t *Target) dropNamesake(h http.Header, host, visitors string) {
	isNamesake := func(v string) bool { return t.names(v, host) && !t.names(v, visitors) }
	for i, v := range h["Origin"] {
		if isNamesake(v) {
			h["Origin"][i] = "null"
		}
	}
	if rest := slices.DeleteFunc(h["Referer"], isNamesake); len(rest) > 0 {
		h["Referer"] = rest
	} else {
		h.Del("Referer")
	}
}

// names reports whether a URL names the host, with its port or with that which
// the scheme of either means where there is none.
func (t *Target) names(value, host string) bool {
	scheme, rest, ok := strings.Cut(value, "://")
	u, err := url.Parse(scheme + "://" + urlpath.UntilAny(rest, "/?#")) // a path may be anything
	if !ok || err != nil {
		return false
	}
	if equalFoldASCII(u.Host, host) {
		return true
	}
	h := &url.URL{Scheme: t.URL.Scheme, Host: host}
	name := func(u *url.URL) string { return strings.TrimSuffix(u.Hostname(), ".") }
	return equalFoldASCII(name(u), name(h)) && portOf(u) == portOf(h)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// nameAlike gives a Destination and an If the spelling of the visitor's host that its
// request has: with the port 443, or without it. They are URLs as a client was told them,
// and the Host is often without a port that https has anyway.
func nameAlike(h http.Header, visitors string) {
	from, to := "https://"+visitors+":443", "https://"+visitors
	if bare, ok := strings.CutSuffix(visitors, ":443"); ok {
		from = "https://" + bare
	} else if strings.Contains(visitors, ":") {
		return
	}
	rename(h["Destination"], from, to)
	for i, v := range h["If"] {
		h["If"][i] = strings.ReplaceAll(v, "<"+from+"/", "<"+to+"/")
	}
}

// renameAnswer is the way back: a service that was told another Host may send
// the visitor there.
func (t *Target) renameAnswer(h http.Header, visitors string) {
	host := t.serviceHost(visitors)
	if host == visitors {
		return
	}
	for _, field := range []string{"Location", "Content-Location"} {
		rename(h[field], "http://"+host, "https://"+visitors)
		rename(h[field], "https://"+host, "https://"+visitors)
		rename(h[field], "//"+host, "//"+visitors)
	}
}

// rename gives those of the values that are from, or a URL below it, to instead.
// Scheme and host have no case (RFC 3986, section 6.2.2.1).
func rename(values []string, from, to string) {
	for i, v := range values {
		if len(v) < len(from) || !equalFoldASCII(v[:len(from)], from) {
			continue
		}
		if rest := v[len(from):]; rest == "" || strings.IndexByte("/?#", rest[0]) >= 0 {
			values[i] = to + rest
		}
	}
}

// equalFoldASCII is strings.EqualFold for names: there, K may be a Kelvin sign.
func equalFoldASCII(a, b string) bool {
	for i := range len(a) {
		if a[i] >= 0x80 {
			return false
		}
	}
	return strings.EqualFold(a, b)
}

package publish

import (
	"net/http"
	"strings"
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
		rename(h["Origin"], from, to)
		rename(h["Referer"], from, to)
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

package publish

import (
	"net/http"
	"net/url"
	"reflect"
	"testing"
)

// Where the service sees another Host, what names the visitor's host to it names
// its own instead, and what it sends to its own leads back. WebDAV's fields are
// always the service's own. Other hosts stay as they are.
func TestHostIsRenamedBothWays(t *testing.T) {
	const visitors = "xyz.relay.test:8443"
	for _, tt := range []struct {
		setting, scheme      string
		field, request, want string // what the visitor sends, and what the service gets
		answer, back         string // a Location of the service, and what the visitor gets
	}{
		{"", "http", "Origin", "https://xyz.relay.test:8443", "https://xyz.relay.test:8443", "http://127.0.0.1:3000/a", "http://127.0.0.1:3000/a"},
		{"keep", "http", "Destination", "https://xyz.relay.test:8443/b", "http://xyz.relay.test:8443/b", "/b", "/b"},
		{"keep", "http", "Destination", "https://xyz.relay.test/b", "https://xyz.relay.test/b", "/b", "/b"},
		{"keep", "https", "Destination", "https://xyz.relay.test:8443/b", "https://xyz.relay.test:8443/b", "/b", "/b"},
		{"keep", "http", "If", "<https://xyz.relay.test:8443/a> (<urn:uuid:1>)", "<http://xyz.relay.test:8443/a> (<urn:uuid:1>)", "", ""},
		{"target", "http", "Origin", "https://XYZ.relay.test:8443", "http://127.0.0.1:3000", "http://127.0.0.1:3000/a?b", "https://xyz.relay.test:8443/a?b"},
		{"target", "http", "Origin", "https://xyz.relay.test:84430", "https://xyz.relay.test:84430", "http://127.0.0.1:30000/", "http://127.0.0.1:30000/"},
		{"target", "http", "Origin", "null", "null", "//127.0.0.1:3000", "//xyz.relay.test:8443"},
		{"target", "https", "Referer", "https://xyz.relay.test:8443/page?q", "https://127.0.0.1:3000/page?q", "https://127.0.0.1:3000/", "https://xyz.relay.test:8443/"},
		{"localhost", "http", "Referer", "https://other.test/xyz.relay.test:8443", "https://other.test/xyz.relay.test:8443", "http://localhost/x", "https://xyz.relay.test:8443/x"},
		{"localhost:5173", "http", "Destination", "https://xyz.relay.test:8443", "http://localhost:5173", "http://localhost/x", "http://localhost/x"},
	} {
		target := &Target{URL: &url.URL{Scheme: tt.scheme, Host: "127.0.0.1:3000"}, HostHeader: tt.setting}
		h := http.Header{tt.field: {tt.request}}
		target.renameRequest(h, visitors)
		if got := h.Get(tt.field); got != tt.want {
			t.Errorf("%q, %s: %s: the service gets %s, want %s", tt.setting, tt.field, tt.request, got, tt.want)
		}
		h = http.Header{"Location": {tt.answer}, "Content-Location": {tt.answer}}
		target.renameAnswer(h, visitors)
		if h.Get("Location") != tt.back || h.Get("Content-Location") != tt.back {
			t.Errorf("%q: %s: the visitor gets %v, want %s", tt.setting, tt.answer, h, tt.back)
		}
	}
}

// What the service sees as its host is another server for the visitor: a page of
// that one does not become the service's own. Pages of other hosts and ports stay
// as they are, and so does all where the service sees the visitor's Host.
func TestPageOfTheServicesNamesakeIsNotItsOwn(t *testing.T) {
	const visitors = "xyz.relay.test:8443"
	for _, tt := range []struct{ setting, scheme, origin, want string }{
		{"localhost:3000", "http", "http://localhost:3000", "null"},
		{"localhost:3000", "http", "https://localhost:3000", "null"},
		{"localhost:3000", "https", "http://LocalHost:3000", "null"},
		{"localhost:3000", "http", "http://localhost.:3000", "null"},
		{"localhost:3000", "http", "http://localhost:3001", "http://localhost:3001"},
		{"localhost:3000", "http", "http://localhost", "http://localhost"},
		{"localhost:3000", "http", "http://127.0.0.1:3000", "http://127.0.0.1:3000"},
		{"localhost:3000", "http", "https://xyz.relay.test:8443", "http://localhost:3000"},
		{"localhost:3000", "http", "null", "null"},
		{"localhost", "http", "http://localhost", "null"},
		{"localhost", "http", "http://localhost:80", "null"},
		{"localhost", "http", "https://localhost", "null"},
		{"localhost", "https", "https://localhost:443", "null"},
		{"localhost:80", "http", "http://localhost", "null"},
		{"target", "http", "http://127.0.0.1:3000", "null"},
		{"target", "http", "https://other.test", "https://other.test"},
		{"xyz.relay.test", "http", "https://xyz.relay.test:8443", "http://xyz.relay.test"},
		{"xyz.relay.test", "http", "http://xyz.relay.test", "null"},
		{"keep", "http", "http://localhost:3000", "http://localhost:3000"},
		{"keep", "http", "http://127.0.0.1:3000", "http://127.0.0.1:3000"},
	} {
		target := &Target{URL: &url.URL{Scheme: tt.scheme, Host: "127.0.0.1:3000"}, HostHeader: tt.setting}
		h := http.Header{"Origin": {tt.origin}}
		if tt.origin != "null" {
			h["Referer"] = []string{tt.origin + "/%zz?q"}
		}
		target.renameRequest(h, visitors)
		want := http.Header{"Origin": {tt.want}}
		if tt.want != "null" {
			want["Referer"] = []string{tt.want + "/%zz?q"}
		}
		if !reflect.DeepEqual(h, want) {
			t.Errorf("%q, %s: %s: the service gets %q, want %q", tt.setting, tt.scheme, tt.origin, h, want)
		}
	}
}

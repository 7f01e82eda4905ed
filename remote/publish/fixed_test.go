package publish_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"keystay/remote/publish"
)

// A URL without a path keeps the visitor's path and query, and any other leads to
// itself. Methods with a body keep it.
func TestRedirect(t *testing.T) {
	for _, row := range []struct{ to, method, path, location, status string }{
		{"https://example.com", "GET", "/", "https://example.com/", "302"},
		{"https://example.com", "GET", "/a%2Fb/x|y?q=1&r", "https://example.com/a%2Fb/x%7Cy?q=1&r", "302"},
		{"https://example.com", "GET", "//evil.test/", "https://example.com//evil.test/", "302"},
		{"https://example.com", "GET", "/?", "https://example.com/?", "302"},
		{"https://example.com:8443", "HEAD", "/a", "https://example.com:8443/a", "302"},
		{"https://example.com", "POST", "/a", "https://example.com/a", "307"},
		{"https://example.com", "PUT", "/a?b", "https://example.com/a?b", "307"},
		{"https://example.com/", "GET", "/a?b", "https://example.com/", "302"},
		{"https://example.com/new?x=1#top", "GET", "/a?b", "https://example.com/new?x=1#top", "302"},
		{"https://example.com?x", "GET", "/a?b", "https://example.com?x", "302"},
		{"https://example.com", "OPTIONS", "*", "https://example.com", "307"},
	} {
		u, err := url.Parse(row.to)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := serveSite(t, publish.Route{Path: "/", Handler: publish.Redirect(u)})
		resp := p.raw(row.method + " " + row.path + " HTTP/1.1\nHost: " + domain + "\nContent-Length: 0\nConnection: close\n\n")
		if got := resp.Header.Get("Location"); got != row.location || resp.Status[:3] != row.status {
			t.Errorf("%s %s to %s: %s %s, want %s %s", row.method, row.path, row.to, resp.Status, got, row.status, row.location)
		}
	}
}

// Behind a stripped path, what is kept is the rest.
func TestRedirectOfAStrippedPath(t *testing.T) {
	u, _ := url.Parse("https://example.com")
	p, _ := serveSite(t, publish.Route{Path: "/old/", Strip: true, Handler: publish.Redirect(u)})
	resp := p.raw("GET /old/a?b HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n")
	if got := resp.Header.Get("Location"); got != "https://example.com/a?b" {
		t.Error(got)
	}
}

// A text is sent as it is, with its length, and to HEAD without it.
func TestText(t *testing.T) {
	const text = "<b>Grüße</b>\n"
	p, _ := serveSite(t, publish.Route{Path: "/", Handler: publish.Text(text)})
	both(t, func(t *testing.T, h2 bool) {
		for method, want := range map[string]string{"GET": text, "HEAD": "", "POST": ""} {
			req, _ := http.NewRequest(method, "https://"+domain+"/x?y", nil)
			resp, err := p.client(h2).Do(req)
			got := body(t, resp, err)
			switch h := resp.Header; {
			case method == "POST":
				if resp.StatusCode != 405 || h.Get("Allow") != "GET, HEAD" {
					t.Errorf("POST: %s %v", resp.Status, h)
				}
			case got != want || resp.ContentLength != int64(len(text)) || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff":
				t.Errorf("%s: %q %v", method, got, h)
			}
		}
	})
}

// Both are handlers for any server.
func TestFixedAnswersByThemselves(t *testing.T) {
	u, _ := url.Parse("https://example.com")
	for want, h := range map[string]http.Handler{"hello": publish.Text("hello"), "https://example.com/a": publish.Redirect(u)} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/a", strings.NewReader("")))
		text, _ := io.ReadAll(w.Result().Body)
		if got := string(text) + w.Header().Get("Location"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

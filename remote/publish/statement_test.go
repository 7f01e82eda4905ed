package publish_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"keystay/remote/publish"
)

const said = `{"keystay":1}`

// withStatement puts a site on a name that says whose it is, behind a gate that lets
// nobody in and in front of a route that must not be asked.
func withStatement(t *testing.T, say func() ([]byte, error)) *published {
	closed := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "closed", http.StatusForbidden) })
	}
	site := publish.NewSite(domain, publish.SiteConfig{Gate: closed, Statement: say, Routes: []publish.Route{{Path: "/", Handler: publish.Text("the service")}}})
	return serve(t, site.Server())
}

// The document that says whose the name is comes past the gate, over both versions, and
// nothing else does: no other method, no other spelling, nothing below it.
func TestStatementComesPastTheGate(t *testing.T) {
	p := withStatement(t, func() ([]byte, error) { return []byte(said), nil })
	both(t, func(t *testing.T, h2 bool) {
		for _, c := range []struct {
			method, target string
			status         int
			text           string
		}{
			{"GET", "/.well-known/keystay", 200, said}, {"GET", "/.well-known/keystay?x=y", 200, said}, {"HEAD", "/.well-known/keystay", 200, ""},
			{"POST", "/.well-known/keystay", 403, ""}, {"PUT", "/.well-known/keystay", 403, ""}, {"OPTIONS", "/.well-known/keystay", 403, ""},
			{"GET", "/.well-known/keystay/", 403, ""}, {"GET", "/.well-known/keystay/x", 403, ""}, {"GET", "/.Well-Known/keystay", 403, ""}, {"GET", "/.well-known/keysta%79", 403, ""},
			{"GET", "/.well-known//keystay", 403, ""}, {"GET", "/x/../.well-known/keystay", 403, ""}, {"GET", "/.well-known/keystay;x", 403, ""}, {"GET", "/", 403, ""}, {"GET", "/x?/.well-known/keystay", 403, ""},
		} {
			req, err := http.NewRequest(c.method, "https://"+domain+c.target, strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Basic x")
			resp, err := p.client(h2).Do(req)
			got := body(t, resp, err)
			if resp.StatusCode != c.status || c.text != "" && got != c.text || c.method == "HEAD" && got != "" {
				t.Errorf("%s %s: %s %q", c.method, c.target, resp.Status, got)
			}
			if c.status == 200 && (resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" || resp.ContentLength != int64(len(said))) {
				t.Errorf("%s %s: %v, %d bytes", c.method, c.target, resp.Header, resp.ContentLength)
			}
		}
	})
	resp := p.raw("GET /.well-known/keystay HTTP/1.1\nHost: evil.test\nConnection: close\n\n")
	if io.Copy(io.Discard, resp.Body); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %s", resp.Status)
	}
}

// Where the device has nothing to say the visitor is told so; and a site that is not
// told what to say has the path for its service.
func TestStatementThatThereIsNot(t *testing.T) {
	p := withStatement(t, func() ([]byte, error) { return nil, errors.New("the reason is the device's own business") })
	resp := p.raw("GET /.well-known/keystay HTTP/1.1\nHost: " + domain + "\nConnection: close\n\n")
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(text), "business") {
		t.Errorf("%s %s", resp.Status, text)
	}
	p, _ = serveSite(t, publish.Route{Path: "/", Handler: publish.Text("the service")})
	if got := ask(t, p, "GET /.well-known/keystay"); got != "the service" {
		t.Errorf("%q", got)
	}
}

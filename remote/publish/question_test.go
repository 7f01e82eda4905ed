package publish_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"keystay/internal/probe"
	"keystay/remote/publish"
)

// What other remotes post is answered past the gate, over both versions; nothing else
// is, and what is too long or refused gets no answer.
func TestAQuestionOfAnotherRemoteIsAnsweredPastTheGate(t *testing.T) {
	closed := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "closed", http.StatusTeapot) })
	}
	site := publish.NewSite(domain, publish.SiteConfig{Gate: closed, Routes: []publish.Route{{Path: "/", Handler: publish.Text("the service")}},
		Question: func(_ context.Context, question []byte) ([]byte, error) {
			if len(question) > probe.MaxQuestion || string(question) == "no" {
				return nil, errors.New("the reason is the device's own business")
			}
			return []byte("answer to " + string(question)), nil
		}})
	p := serve(t, site.Server())
	both(t, func(t *testing.T, h2 bool) {
		for _, c := range []struct {
			method, target, body string
			status               int
			text                 string
		}{
			{"POST", probe.Path, "this", 200, "answer to this"}, {"POST", probe.Path, "no", 403, ""}, {"POST", probe.Path, strings.Repeat("x", 1<<16), 403, ""},
			{"GET", probe.Path, "", 418, ""}, {"PUT", probe.Path, "this", 418, ""}, {"POST", probe.Path + "/", "this", 418, ""}, {"POST", "/", "this", 418, ""},
		} {
			req, err := http.NewRequest(c.method, "https://"+domain+c.target, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := p.client(h2).Do(req)
			got := body(t, resp, err)
			if resp.StatusCode != c.status || c.text != "" && got != c.text || strings.Contains(got, "business") {
				t.Errorf("%s %s: %s %q", c.method, c.target, resp.Status, got)
			}
		}
	})
}

// A site that answers no questions has the path for its service.
func TestWithoutQuestionsThePathIsTheServices(t *testing.T) {
	p, _ := serveSite(t, publish.Route{Path: "/", Handler: publish.Text("the service")})
	req, err := http.NewRequest("POST", "https://"+domain+probe.Path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client(false).Do(req)
	if got := body(t, resp, err); strings.Contains(got, "answered") {
		t.Errorf("%s %q", resp.Status, got)
	}
}

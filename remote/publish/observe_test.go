package publish_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"keystay/remote/publish"
)

// observeSite puts routes on a name whose requests are observed. What is told stands in
// lines.
func observeSite(t *testing.T, routes ...publish.Route) (p *published, told chan string) {
	t.Helper()
	told = make(chan string, 16)
	site := publish.NewSite(domain, publish.SiteConfig{Routes: routes, Observer: func(r *http.Request) func(publish.Answer) {
		if r.URL.Path == "/unseen" {
			return nil
		}
		request := r.Method + " " + r.URL.Path + " "
		return func(a publish.Answer) { told <- request + fmt.Sprintf("%+v", a) }
	}})
	return serve(t, site.Server()), told
}

// An observer is told of the head of an answer and of its end, with what was sent, and of
// one that was cut.
func TestObserverIsToldOfEachAnswerTwice(t *testing.T) {
	release := make(chan struct{})
	both(t, func(t *testing.T, h2 bool) {
		p, told := observeSite(t,
			publish.Route{Path: "/text", Handler: publish.Text("four")},
			publish.Route{Path: "/empty", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
			publish.Route{Path: "/cut", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
				<-release
				panic(http.ErrAbortHandler)
			})})
		client := p.client(h2)
		for _, c := range []struct{ path, head, end string }{
			{"/unseen", "", ""},
			{"/text", "GET /text {Status:200 Written:0 Ended:false Cut:false}", "GET /text {Status:200 Written:4 Ended:true Cut:false}"},
			{"/empty", "", "GET /empty {Status:200 Written:0 Ended:true Cut:false}"},
			{"/nowhere", "GET /nowhere {Status:404 Written:0 Ended:false Cut:false}", "GET /nowhere {Status:404 Written:"},
			{"/cut", "GET /cut {Status:200 Written:0 Ended:false Cut:false}", "GET /cut {Status:200 Written:4 Ended:true Cut:true}"},
		} {
			resp, err := client.Get("https://" + domain + c.path)
			if err != nil {
				t.Fatal(err)
			}
			if c.head != "" {
				if got := <-told; got != c.head {
					t.Errorf("%s: of the head %s, want %s", c.path, got, c.head)
				}
			}
			if c.path == "/cut" {
				release <- struct{}{}
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if (err != nil) != (c.path == "/cut") {
				t.Errorf("%s: %v", c.path, err)
			}
			if c.end == "" {
				continue
			}
			if got := <-told; !strings.HasPrefix(got, c.end) || strings.Contains(got, "404 Written:0") {
				t.Errorf("%s: of the end %s, want %s", c.path, got, c.end)
			}
		}
		if len(told) != 0 {
			t.Error("more is told:", <-told)
		}
	})
}

// A switch of protocols is told of as 101, and passes.
func TestObserverIsToldOfASwitch(t *testing.T) {
	target, service := rawTarget(t, "http")
	p, told := observeSite(t, publish.Route{Path: "/", Target: target})
	c := p.visitor("http/1.1")
	io.WriteString(c, crlf("GET /ws HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: echo\n\n"))
	service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"}
	<-service.got
	if got := hear(c, len("HTTP/1.1 101")); got != "HTTP/1.1 101" {
		t.Fatal(got)
	}
	if got := <-told; got != "GET /ws {Status:101 Written:0 Ended:false Cut:false}" {
		t.Error(got)
	}
	c.Close()
	if got := <-told; !strings.HasPrefix(got, "GET /ws {Status:101 Written:0 Ended:true") {
		t.Error(got)
	}
}

package publish_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"keystay/remote/publish"
)

// A route sets and removes fields on both ways, in any spelling of the visitor's
// and the service's, and nothing is added in the place of what is removed.
func TestHeaderChanges(t *testing.T) {
	for _, kind := range kinds {
		target, service := rawTarget(t, kind)
		p, _ := serveSite(t, publish.Route{Path: "/", Target: target,
			Request: publish.HeaderChanges{
				Set:    http.Header{"X-From": {"keystay"}, "X-API-Version": {"1"}, "Authorization": {"Basic eA=="}},
				Remove: []string{"Cookie", "user-agent", "X-Gone", "Date"},
			},
			Response: publish.HeaderChanges{
				Set:    http.Header{"X-Frame-Options": {"DENY"}, "Cache-Control": {"no-store"}},
				Remove: []string{"Server", "x-powered-by", "Content-Type"},
			},
		})
		const answer = "HTTP/1.1 200 OK\n" + when + "SERVER: x\nX-Powered-By: y\nContent-Type: text/html\ncache-control: public\nCache-Control: max-age=5\nX-Mine: 1\nContent-Length: 5\n\n<p>hi"
		step := rawStep{until: "\r\n\r\n", answer: crlf(answer)}

		c := p.visitor("http/1.1")
		const sent = "GET / HTTP/1.1\nHost: $H\nx-FROM: visitor\ncookie: a=b\nCOOKIE: c=d\nUser-Agent: me\nAUTHORIZATION: evil\nDate: x\nX-Gone: 1\nX_From: visitor\nx.api_version: 2\nX_GONE: 1\nX-Mine: 1\n\n"
		want := sorted(crlf("HTTP/1.1 200 OK\n" + when + "cache-control: no-store\nX-Frame-Options: DENY\nX-Mine: 1\nContent-Length: 5\n\n<p>hi"))
		got := make(chan string, 1)
		go func() { got <- say(t, c, crlf(sent), len(want)) }()
		service.steps <- step
		request := crlf("GET / HTTP/1.1\nAuthorization: Basic eA==\nHost: $H\nX-API-Version: 1\nX-From: keystay\nX-Mine: 1\n\n")
		if raw := sorted(withoutForwarded(<-service.got, domain)); raw != request {
			t.Errorf("%s: the service gets\n%q, want\n%q", kind, raw, request)
		}
		if raw := sorted(<-got); raw != want {
			t.Errorf("%s: the visitor gets\n%q, want\n%q", kind, raw, want)
		}

		v := newH2Visitor(t, p)
		v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /\nx-from: visitor\nx_from: visitor\nx-api-version: 2\ncookie: a=b\nuser-agent: me\nx-mine: 1", true)
		service.steps <- step
		if raw := sorted(withoutForwarded(<-service.got, domain)); raw != request {
			t.Errorf("%s: of HTTP/2 the service gets\n%q, want\n%q", kind, raw, request)
		}
		if got, want := v.answer(), ":status: 200\ncache-control: no-store\ncontent-length: 5\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nx-frame-options: DENY\nx-mine: 1\nDATA <p>hi\nEND\n"; got != want {
			t.Errorf("%s: over HTTP/2 the visitor gets\n%q, want\n%q", kind, got, want)
		}
	}
}

// What a route removes or replaces is not in interim answers either.
func TestHeaderChangesOfInterimAnswers(t *testing.T) {
	target, service := rawTarget(t, "http")
	p, _ := serveSite(t, publish.Route{Path: "/", Target: target, Response: publish.HeaderChanges{Set: http.Header{"X-Set": {"1"}}, Remove: []string{"Server"}}})
	c := p.visitor("http/1.1")
	want := crlf("HTTP/1.1 103 Early Hints\nLink: <a>\n\n")
	got := make(chan string, 1)
	go func() { got <- say(t, c, crlf("GET / HTTP/1.1\nHost: $H\n\n"), len(want)) }()
	service.steps <- rawStep{until: "\r\n\r\n", answer: crlf("HTTP/1.1 103 Early Hints\nLink: <a>\nSERVER: x\nx-set: service\n\nHTTP/1.1 200 OK\n" + when + "Content-Length: 0\n\n")}
	<-service.got
	if raw := <-got; raw != want {
		t.Errorf("the visitor gets %q, want %q", raw, want)
	}
}

// They are so for handlers, too.
func TestHeaderChangesOfHandlers(t *testing.T) {
	changes := publish.HeaderChanges{Set: http.Header{"X-Set": {"1"}}, Remove: []string{"X-Gone", "Content-Type"}}
	p, _ := serveSite(t,
		publish.Route{Path: "/", Request: changes, Response: changes, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Gone", "1")
			w.Header().Set("X-Saw", r.Header.Get("X-Set")+r.Header.Get("X-Gone"))
			io.WriteString(w, "<p>")
		})},
		publish.Route{Path: "/empty", Response: changes, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Gone", "1")
		})},
	)
	both(t, func(t *testing.T, h2 bool) {
		resp, text := get(t, p.client(h2), "X-Gone", "1")
		h := resp.Header
		if text != "<p>" || h.Get("X-Saw") != "1" || h.Get("X-Set") != "1" || h["X-Gone"] != nil || h["Content-Type"] != nil {
			t.Errorf("%q %v", text, h)
		}
		resp, err := p.client(h2).Get("https://" + domain + "/empty")
		if body(t, resp, err); resp.Header.Get("X-Set") != "1" || resp.Header["X-Gone"] != nil {
			t.Errorf("an empty answer: %v", resp.Header)
		}
	})
}

// A field that frames a message, is about its connection, or says where it comes from is no
// route's to change.
func TestHeadersThatNoRouteMayChange(t *testing.T) {
	framing := []string{"Connection", "keep-alive", "Proxy-Connection", "Transfer-Encoding", "content-length", "TE", "Trailer", "Upgrade", "HTTP2-Settings", "Sec-WebSocket-Key", "Sec-WebSocket-Accept"}
	routing := []string{"Host", "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto", "X-Forwarded-Prefix"}
	refused := func(c publish.HeaderChanges, request bool) bool {
		r := publish.Route{Path: "/", Handler: publish.Text("")}
		if request {
			r.Request = c
		} else {
			r.Response = c
		}
		err := r.Check()
		return err != nil && strings.Contains(err.Error(), "is set by the remote itself")
	}
	for _, name := range append(framing, routing...) {
		if !refused(publish.HeaderChanges{Set: http.Header{strings.ReplaceAll(name, "-", "_"): {"x"}}}, true) {
			t.Errorf("%s of requests may be changed with underscores", name)
		}
		for _, c := range []publish.HeaderChanges{{Set: http.Header{name: {"x"}}}, {Remove: []string{name}}} {
			if !refused(c, true) {
				t.Errorf("%s of requests may be changed", name)
			}
		}
	}
	for _, name := range framing {
		if !refused(publish.HeaderChanges{Set: http.Header{name: {"x"}}}, false) || !refused(publish.HeaderChanges{Remove: []string{name}}, false) {
			t.Errorf("%s of answers may be changed", name)
		}
	}
}

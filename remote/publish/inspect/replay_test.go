package inspect

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A replay is the request as it was, to the same handler, and is marked as one.
func TestReplayIsTheRequestAsItWas(t *testing.T) {
	type got struct{ method, target, host, body, length, visitor, key, mark string }
	var last got
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		last = got{q.Method, q.RequestURI, q.Host, string(b), q.Header.Get("Content-Length"), q.RemoteAddr, q.Header.Get("X-Api-Key"), q.Header.Get(ReplayField)}
		fmt.Fprint(w, "done")
	})
	r.visit("PUT", "/a/b?c=%20d", "the body\x00\xff", "X-Api-Key", "k", "Content-Length", "10")
	first := last
	if first.mark != "" {
		t.Fatal("a visitor's request is marked")
	}
	x, w := r.replayed("/api/exchanges/1/replay", "")
	if x.exchange == nil {
		t.Fatal(w.Code, w.Body)
	}
	first.mark = "1"
	if last != first || x.replayOf != 1 || string(x.answer.body) != "done" || x.name != shop {
		t.Errorf("%+v, was %+v", last, first)
	}
	if page := r.get("/x/2"); !strings.Contains(page, "a replay of") {
		t.Error("the page does not say that it is one")
	}
	if x, _ := r.replayed("/api/exchanges/2/replay", ""); x.exchange == nil || x.replayOf != 2 || last.mark != "2" {
		t.Errorf("a replay of a replay: %+v", last)
	}
}

// What a person edits is sent; a masked value that is left is sent as it was.
func TestReplayWithEdits(t *testing.T) {
	var last *http.Request
	var body []byte
	r := newRig(t, func(_ http.ResponseWriter, q *http.Request) {
		last = q
		body, _ = io.ReadAll(q.Body)
	})
	r.visit("POST", "/one", "one\ntwo\n", "Authorization", "Bearer secret", "X-Old", "1", "Content-Type", "text/plain")
	form := url.Values{"method": {"PATCH"}, "target": {"/two?x=y"}, "head": {"authorization: " + masked + "\r\nX-New: 2\r\n\r\n"}, "body": {"one\r\nthree\r\n"}}
	w := r.ask("POST", "/x/1/replay", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if w.Code != http.StatusSeeOther || !strings.HasSuffix(w.Header().Get("Location"), "/x/2") {
		t.Fatal(w.Code, w.Header(), w.Body)
	}
	e := r.in.find(2)
	r.await("the end", func() bool { return e.look().ended })
	if last.Method != "PATCH" || last.RequestURI != "/two?x=y" || last.Header.Get("Authorization") != "Bearer secret" || last.Header.Get("X-New") != "2" || last.Header.Get("X-Old") != "" || string(body) != "one\nthree\n" {
		t.Errorf("%s %s %v %q", last.Method, last.RequestURI, last.Header, body)
	}
	r.replayed("/api/exchanges/1/replay", `{"method":"GET","target":"/three","header":{"X-Own":["4"]},"body":""}`)
	if last.Method != "GET" || last.RequestURI != "/three" || len(last.Header) != 2 || last.Header.Get("X-Own") != "4" || len(body) != 0 {
		t.Errorf("%s %s %v %q", last.Method, last.RequestURI, last.Header, body)
	}
}

// No edit leads a replay anywhere but to the handler of the same name, and what is no
// request is refused.
func TestReplayGoesNowhereElse(t *testing.T) {
	hosts := make(map[string]bool)
	r := newRig(t, func(_ http.ResponseWriter, q *http.Request) { hosts[q.Host+" "+q.URL.Scheme] = true })
	r.visit("GET", "/", "")
	before, _ := r.in.all()
	for _, target := range []string{"http://169.254.169.254/", "https://evil.test/", "ftp://x/", "evil", "", "*", "/a b", "/a\r\nHost: evil", "/#x", "mailto:a@b", "?x", "\\\\evil\\x"} {
		w := r.ask("POST", "/api/exchanges/1/replay", fmt.Sprintf(`{"target":%q}`, target))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", target, w.Code)
		}
	}
	for _, edit := range []string{`{"method":"GET /x"}`, `{"method":""}`, `{"header":{"X":["a\r\nHost: evil"]}}`, `{"header":{"":["a"]}}`, `{"header":{"X Y":["a"]}}`, `{`, `[]`} {
		if w := r.ask("POST", "/api/exchanges/1/replay", edit); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", edit, w.Code)
		}
	}
	if all, _ := r.in.all(); len(all) != len(before) {
		t.Error("something was sent")
	}
	for _, edit := range []string{`{"target":"//evil.test/x"}`, `{"header":{"Host":["evil.test"],"X-Forwarded-Host":["evil.test"]}}`, `{"header":{"Connection":["Upgrade"],"Upgrade":["websocket"],"Transfer-Encoding":["chunked"]}}`} {
		if x, w := r.replayed("/api/exchanges/1/replay", edit); x.exchange == nil || x.host != shop {
			t.Errorf("%s: %d %s", edit, w.Code, w.Body)
		}
	}
	for to := range hosts {
		if to != shop+" " {
			t.Errorf("one went to %q", to)
		}
	}
	r.in.mu.Lock()
	clear(r.in.sites)
	r.in.mu.Unlock()
	if w := r.ask("POST", "/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "does not serve the name any more") {
		t.Error(w.Code, w.Body)
	}
}

// A body of which only the beginning is kept is not sent as if it were whole.
func TestReplayOfAPartNeedsABody(t *testing.T) {
	r := newRig(t, func(_ http.ResponseWriter, q *http.Request) { _, _ = io.Copy(io.Discard, q.Body) })
	r.visit("POST", "/", strings.Repeat("x", maxBody+1))
	if _, w := r.replayed("/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), errBodyCut.Error()) {
		t.Error(w.Code, w.Body)
	}
	if x, w := r.replayed("/api/exchanges/1/replay", `{"body":"c2hvcnQ="}`); x.exchange == nil || string(x.request.body) != "short" {
		t.Error(w.Code, w.Body)
	}
	if page := r.get("/x/1"); !strings.Contains(page, `<button id="again" disabled>`) {
		t.Error("the page offers it")
	}
}

// So many replays run at once, and Close ends them.
func TestReplaysAreBoundedAndEnd(t *testing.T) {
	r := newRig(t, func(_ http.ResponseWriter, q *http.Request) {
		if q.Header.Get(ReplayField) != "" {
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}
	})
	r.visit("GET", "/", "")
	for range maxReplays {
		if w := r.ask("POST", "/api/exchanges/1/replay", ""); w.Code != http.StatusAccepted {
			t.Fatal(w.Code, w.Body)
		}
	}
	if w := r.ask("POST", "/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), errReplays.Error()) {
		t.Error(w.Code, w.Body)
	}
	r.in.Close()
	if all, _ := r.in.all(); len(all) != maxReplays+1 {
		t.Error(len(all))
	} else {
		for _, e := range all[:maxReplays] {
			if c := e.look(); !c.broken {
				t.Error("a replay goes on")
			}
		}
	}
	if w := r.ask("POST", "/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest {
		t.Error(w.Code)
	}
}

// A request whose handler ends before the inspector sees it is said to be refused.
func TestReplayThatIsRefusedIsSaidToBe(t *testing.T) {
	r := newRig(t, echo)
	r.visit("GET", "/", "")
	remove := r.in.Add(shop, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer remove()
	if w := r.ask("POST", "/api/exchanges/1/replay", ""); w.Code != http.StatusBadRequest {
		t.Error(w.Code, w.Body)
	}
}

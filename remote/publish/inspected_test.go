package publish_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/remote/publish"
	"keystay/remote/publish/inspect"
)

// An inspected site, and the inspector's page.
type inspected struct {
	*published
	site *publish.Site
	page *inspect.Server
}

// serveInspected is serve for routes behind an inspector and a gate, which may be nil.
func serveInspected(t *testing.T, gate func(http.Handler) http.Handler, routes ...publish.Route) *inspected {
	t.Helper()
	in := new(inspect.Inspector)
	site := publish.NewSite(domain, publish.SiteConfig{
		Routes:  routes,
		Gate:    gate,
		Inspect: func(next http.Handler) http.Handler { return in.Wrap(domain, next) },
	})
	t.Cleanup(in.Add(domain, http.HandlerFunc(site.Again)))
	page, err := inspect.Start("127.0.0.1:0", in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { page.Close() })
	return &inspected{serve(t, site.Server()), site, page}
}

// An exchange as the inspector's API has it.
type exchange struct {
	ID                uint64
	State, Target     string
	Status            int
	Request, Answer   struct{ Header, Trailer http.Header }
	AnswerBytes       int64  `json:"answer_bytes"`
	ReplayOf          uint64 `json:"replay_of"`
	Messages          []struct{ Kind, Data string }
	Exchanges         []exchange
	RequestBytes, Let int64
}

// ask asks the inspector's API.
func (p *inspected) ask(method, path string) (x exchange) {
	p.t.Helper()
	tr := new(http.Transport)
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest(method, p.page.URL()+"api/exchanges"+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&x); err != nil || resp.StatusCode > 299 {
		p.t.Fatal(resp.Status, err)
	}
	return x
}

// ended is the exchange with an id once it has ended.
func (p *inspected) ended(id uint64) (x exchange) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if x = p.ask("GET", fmt.Sprint("/", id)); x.State != "running" {
			return x
		}
	}
	p.t.Fatal("it does not end")
	return x
}

// forms is a service whose answers have many forms.
func forms(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch r.URL.Path {
	case "/length":
		h.Set("Content-Length", "5")
		io.WriteString(w, "12345")
	case "/untyped":
		h["Content-Type"] = nil
		io.WriteString(w, "<p>")
	case "/nothing":
		w.WriteHeader(http.StatusNoContent)
	case "/same":
		h.Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	case "/hints":
		h.Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "late")
	case "/trailers":
		h.Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		h.Set("X-Sum", r.Trailer.Get("X-Up"))
		h.Set(http.TrailerPrefix+"X-Late", "unannounced")
	case "/long":
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	default:
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		http.Error(w, "no such form", http.StatusNotFound)
	}
}

// Requests and answers of every form pass an inspector as they pass without one: heads,
// bodies, lengths, interim answers and trailers, over HTTP/1.1 and HTTP/2.
func TestInspectedTrafficPassesUnharmed(t *testing.T) {
	target := handlerTarget(t, forms)
	bare, through := serveTarget(t, target), serveInspected(t, nil, publish.Route{Path: "/", Target: target})
	both(t, func(t *testing.T, h2 bool) {
		clients := []*http.Client{bare.client(h2), through.client(h2)}
		for _, tt := range []struct{ method, path, body string }{
			{"GET", "/length", ""}, {"HEAD", "/length", ""}, {"GET", "/untyped", ""}, {"GET", "/nothing", ""}, {"GET", "/same", ""},
			{"GET", "/hints", ""}, {"POST", "/trailers", "body"}, {"PUT", "/long", strings.Repeat("0123456789", 100_000)}, {"DELETE", "/none", ""}, {"POST", "/none", "unread"},
		} {
			var got []string
			for _, c := range clients {
				got = append(got, sayAll(t, c, tt.method, tt.path, tt.body))
			}
			if got[0] != got[1] {
				t.Errorf("%s %s: without\n%.300s\nwith\n%.300s", tt.method, tt.path, got[0], got[1])
			}
		}
	})
	long := through.ask("GET", "?q=path:/long").Exchanges
	if len(long) != 2 {
		t.Fatalf("%+v", long)
	}
	for _, x := range long {
		if full := through.ended(x.ID); full.AnswerBytes != 1_000_000 || full.Status != 200 {
			t.Errorf("%+v", full)
		}
	}
	x := through.ask("GET", "?q=path:/trailers")
	if full := through.ended(x.Exchanges[0].ID); full.Request.Trailer.Get("X-Up") != "up" || full.Answer.Trailer.Get("X-Sum") != "up" || full.Answer.Trailer.Get("X-Late") != "unannounced" {
		t.Errorf("%+v", full)
	}
}

// sayAll sends a request and says all of its answer.
func sayAll(t *testing.T, c *http.Client, method, path, text string) string {
	t.Helper()
	var said strings.Builder
	req, _ := http.NewRequest(method, "https://"+domain+path, http.NoBody)
	if text != "" {
		req.Body = io.NopCloser(strings.NewReader(text))
		req.Trailer = http.Header{"X-Up": {"up"}}
	}
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		fmt.Fprintln(&said, code, h)
		return nil
	}}))
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	resp.Header.Del("Date")
	fmt.Fprintln(&said, resp.Proto, resp.Status, resp.ContentLength, resp.TransferEncoding, err)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		fmt.Fprintln(&said, name, resp.Header[name])
	}
	fmt.Fprintln(&said, resp.Trailer, string(b))
	return said.String()
}

// What is inspected is not held back: each piece is there before the next is sent, and an
// answer that breaks off breaks off.
func TestInspectedAnswersAreNotHeldBack(t *testing.T) {
	next := make(chan bool)
	p := serveInspected(t, nil, publish.Route{Path: "/", Target: handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			<-next
		}
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
	})})
	both(t, func(t *testing.T, h2 bool) {
		for _, path := range []string{"/whole", "/broken"} {
			resp, err := p.client(h2).Get("https://" + domain + path)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len("data: 0\n\n"))
			for i := range 3 {
				if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
					t.Fatalf("piece %d: %q, %v", i, b, err)
				}
				next <- true
			}
			if _, err := resp.Body.Read(b); (err == io.EOF) != (path == "/whole") {
				t.Errorf("%s ends with %v", path, err)
			}
			resp.Body.Close()
			x := p.ended(p.ask("GET", "?q=path:"+path).Exchanges[0].ID)
			if (x.State == "done") != (path == "/whole") || len(x.Messages) != 3 || x.Messages[2].Kind != "message" {
				t.Errorf("%s is kept as %+v", path, x)
			}
		}
	})
}

// WebSockets pass with all that is sent early, their halves end by themselves, and their
// frames are kept, over HTTP/1.1 and over HTTP/2.
func TestInspectedWebSockets(t *testing.T) {
	got := make(chan string, 2)
	p := serveInspected(t, nil, publish.Route{Path: "/", Target: handlerTarget(t, echoes(got))})
	v := p.visitor("http/1.1")
	fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", domain, frame(1, "early"))
	br := bufio.NewReader(v)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	b := make([]byte, 7)
	if _, err := io.ReadFull(br, b); err != nil || string(b) != "\x81\x05early" {
		t.Errorf("%q, %v", b, err)
	}
	v.Write(frame(8, "\x03\xe8"))
	if b, err := io.ReadAll(br); err != nil || string(b) != "\x88\x02\x03\xe8" {
		t.Errorf("%q, %v", b, err)
	}
	v.Close()
	h2 := newH2Visitor(t, p.published)
	h2.connect("sec-websocket-protocol: chat")
	if head := h2.next(); head != ":status: 200\nsec-websocket-protocol: chat\n" {
		t.Fatal(head)
	}
	h2.fr.WriteData(h2.stream, false, frame(1, "hello"))
	if echo := h2.next(); echo != "DATA \x81\x05hello" {
		t.Error(echo)
	}
	h2.fr.WriteData(h2.stream, false, frame(8, "\x03\xe8"))
	if echo := h2.next(); echo != "DATA \x88\x02\x03\xe8" {
		t.Error(echo)
	}
	h2.fr.WriteData(h2.stream, true, nil)
	for id := range uint64(2) {
		x := p.ended(id + 1)
		var kinds []string
		for _, m := range x.Messages {
			kinds = append(kinds, m.Kind)
		}
		if x.Status != 101 || strings.Join(kinds, " ") != "text text close close" {
			t.Errorf("%d is kept as %+v", id+1, x)
		}
	}
}

// A replay goes to the service of the route, past the gate, with the fields that the gate
// had set, and says what it is. Visitors cannot say so. What the gate refuses, and what it
// alone is told, is not kept.
func TestReplaysGoPastTheGate(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	service := func(name string) publish.Route {
		return publish.Route{Path: "/" + name + "/", Strip: true, Target: handlerTarget(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(name, " ", r.Host, " ", r.RequestURI, " ", r.Header["X-Forwarded-User"], r.Header["Authorization"], r.Header["X-Forwarded-For"], r.Header["X-Keystay-Replay"]))
		})}
	}
	gate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			passed := r.Clone(r.Context())
			passed.Header.Del("Authorization")
			passed.Header.Set("X-Forwarded-User", "ada")
			next.ServeHTTP(w, passed)
		})
	}
	p := serveInspected(t, gate, service("one"), service("two"))
	for _, authorization := range []string{"", "Basic c2VjcmV0"} {
		req, _ := http.NewRequest("GET", "https://"+domain+"/one/page?x=y", nil)
		req.Header.Set("X-Keystay-Replay", "1")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := p.client(false).Do(req)
		body(t, resp, err)
	}
	list := p.ask("GET", "").Exchanges
	if len(list) != 1 || p.ask("GET", "/1").Request.Header.Get("Authorization") != "" {
		t.Fatalf("%+v", list)
	}
	again := p.ask("POST", "/1/replay")
	if x := p.ended(again.ID); x.ReplayOf != 1 || x.Status != 200 || x.Target != "/one/page?x=y" {
		t.Errorf("%+v", x)
	}
	mu.Lock()
	defer mu.Unlock()
	want := "one " + domain + " /page?x=y [ada] [] [8.8.4.4] "
	if len(seen) != 2 || seen[0] != want+"[]" || seen[1] != want+"[1]" {
		t.Errorf("%q", seen)
	}
}

// Again refuses what no visitor may send either.
func TestAgainIsForTheSiteAlone(t *testing.T) {
	site := publish.NewSite(domain, publish.SiteConfig{Routes: []publish.Route{{Path: "/a/", Target: named(t, "a")}}})
	for _, tt := range []struct {
		host, target string
		want         int
	}{
		{domain, "/a/x", 200}, {"other.relay.test", "/a/x", 421}, {domain, "/b", 404}, {domain, "/a/../b", 400}, {domain, "http://other.test/a/", 400},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.RequestURI = tt.host, tt.target
		w := httptest.NewRecorder()
		site.Again(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.host, tt.target, w.Code, tt.want)
		}
	}
}

// Without an inspector nothing stands between a route and net/http.
func TestNothingStandsBetweenWithoutInspector(t *testing.T) {
	kind := make(chan string, 1)
	route := publish.Route{Path: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { kind <- fmt.Sprintf("%T", w) })}
	bare, _ := serveSite(t, route)
	for want, p := range map[string]*published{"*http.response": bare, "*inspect.tap": serveInspected(t, nil, route).published} {
		ask(t, p, "GET /")
		if got := <-kind; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

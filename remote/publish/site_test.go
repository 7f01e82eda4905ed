package publish_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/page"
	"keystay/remote/publish"
)

// named is a service that says its name and what of the request it sees.
func named(t *testing.T, name string) *publish.Target {
	return handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, name, r.Method, r.RequestURI, r.Header.Get("X-Forwarded-Prefix"))
	})
}

// serveSite puts a site on a name.
func serveSite(t testing.TB, routes ...publish.Route) (*published, *publish.Site) {
	t.Helper()
	site := publish.NewSite(domain, publish.SiteConfig{Routes: routes})
	return serve(t, site.Server()), site
}

// ask sends a request line and returns the status and body of the answer.
func ask(t *testing.T, p *published, line string) string {
	t.Helper()
	resp := p.raw(line + " HTTP/1.1\nHost: " + domain + "\nConnection: close\nX-Forwarded-Prefix: /evil\n\n")
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status[:3]
	}
	return strings.TrimSpace(string(text))
}

// The longest path wins. What is sent on is what the visitor has sent, byte by byte,
// without the path of a route that strips it.
func TestRoutesByTheLongestPath(t *testing.T) {
	p, _ := serveSite(t,
		publish.Route{Path: "/", Target: named(t, "root")},
		publish.Route{Path: "/api/", Strip: true, Target: named(t, "api")},
		publish.Route{Path: "/api/v2/", Target: named(t, "v2")},
		publish.Route{Path: "/api/exact", Target: named(t, "exact")},
		publish.Route{Path: "/caf\u00e9/", Strip: true, Target: named(t, "café")},
		publish.Route{Path: "/text", Handler: publish.Text("a text")},
		publish.Route{Path: "/files/", Strip: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "files", r.Method, r.RequestURI, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.Header.Get("X-Forwarded-Prefix"))
		})},
	)
	for line, want := range map[string]string{
		"GET /":                     "root GET /",
		"GET /apis":                 "root GET /apis",
		"GET /API/x":                "root GET /API/x",
		"GET /a?/api/":              "root GET /a?/api/",
		"OPTIONS *":                 "", // root, whose net/http answers by itself
		"GET /api":                  "api GET / /api",
		"GET /api?x=/y":             "api GET /?x=/y /api",
		"GET /api/":                 "api GET / /api",
		"GET /api/x%20|y?a;b":       "api GET /x%20|y?a;b /api",
		"GET /%61pi/%7Ex":           "api GET /%7Ex /api",
		"GET /api/exact/":           "api GET /exact/ /api",
		"POST /api/x":               "api POST /x /api",
		"GET http://$H/api/x?":      "api GET /x? /api",
		"GET /api/v2":               "v2 GET /api/v2",
		"GET /api/v2/x":             "v2 GET /api/v2/x",
		"GET /api/v22":              "api GET /v22 /api",
		"GET /api/exact":            "exact GET /api/exact",
		"GET /api/exact?x":          "exact GET /api/exact?x",
		"GET /caf%C3%A9/x":          "café GET /x /caf%C3%A9",
		"GET /caf\u00e9/x":          "café GET /x /caf%C3%A9",
		"GET /text":                 "a text",
		"GET /text/":                "root GET /text/",
		"GET /files/a%20b/c?d":      "files GET /a%20b/c?d /a b/c  d /files",
		"GET /files":                "files GET /    /files", // as http.StripPrefix leaves it, so that a folder knows
		"GET /api/../files/":        "400",
		"GET /api//x":               "400",
		"GET //api/x":               "400",
		"GET /api%2fx":              "400",
		"GET /api/%2e%2e/x":         "400",
		"GET /api;x/y":              "400",
		"GET /x\\..\\api":           "400",
		"GET /api/v2%2500":          "400",
		"GET /api/x%00":             "400",
		"CONNECT /api/":             "405",
		"GET http://evil.test/api/": "421",
	} {
		if got := ask(t, p, strings.ReplaceAll(line, "$H", domain)); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// A site without a route for all paths has nothing behind the others.
func TestPathWithoutARouteGets404(t *testing.T) {
	p, _ := serveSite(t, publish.Route{Path: "/api/", Target: named(t, "api")})
	for line, want := range map[string]string{"GET /": "404", "OPTIONS *": "404", "GET /apix": "404", "GET /api/x": "api GET /api/x"} {
		if got := ask(t, p, line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// One route for all paths decides nothing by them: each passes as it is.
func TestOneRouteTakesEachPathAsItIs(t *testing.T) {
	p, _ := serveSite(t, publish.Route{Path: "/", Target: named(t, "root")})
	for _, path := range []string{"/a//b/../c;d", "/%2e%2e/%2f", "/a\\b"} {
		if got := ask(t, p, "GET "+path); got != "root GET "+path {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// Where a service behind a stripped path sends visitors within its host, they come out
// behind that path, and nowhere else.
func TestRedirectsOfAStrippedService(t *testing.T) {
	target := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Location"] = r.Header["X-To"]
		w.Header()["Content-Location"] = r.Header["X-To"]
		w.Header().Set("X-Destination", r.Header.Get("Destination"))
		w.WriteHeader(http.StatusFound)
	})
	p, site := serveSite(t, publish.Route{Path: "/api/", Strip: true, Target: target})
	check := func(to, want string) {
		t.Helper()
		resp := p.raw("GET /api/x HTTP/1.1\nHost: " + domain + "\nX-To: " + to + "\nConnection: close\n\n")
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("Location %q leads to %q, want %q", to, got, want)
		}
		if got := resp.Header.Get("Content-Location"); got != want {
			t.Errorf("Content-Location %q leads to %q, want %q", to, got, want)
		}
	}
	own := "https://" + domain
	for to, want := range map[string]string{
		"/login":                   "/api/login",
		"/":                        "/api/",
		"/login?next=/api/":        "/api/login?next=/api/",
		"/api/login":               "/api/login",
		"/api":                     "/api",
		"/apis":                    "/api/apis",
		"login":                    "login",
		"../x":                     "../x",
		"?page=2":                  "?page=2",
		"#top":                     "#top",
		own + "/login":             own + "/api/login",
		own + "/api/login":         own + "/api/login",
		own:                        own + "/api/",
		own + "?a":                 own + "/api/?a",
		"http://" + domain + "/a":  "http://" + domain + "/api/a",
		"//" + domain + "/a":       "//" + domain + "/api/a",
		"HTTPS://XYZ.relay.test/a": "HTTPS://XYZ.relay.test/api/a",
		"https://example.com/a":    "https://example.com/a",
		"//example.com/a":          "//example.com/a",
		own + ".evil.test/a":       own + ".evil.test/a",
		"mailto:a@b//c":            "mailto:a@b//c",
	} {
		check(to, want)
	}
	target.HostHeader = publish.HostTarget
	site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/api/", Strip: true, Target: target}}})
	check("http://"+target.URL.Host+"/a", own+"/api/a")

	target.HostHeader = ""
	for to, want := range map[string]string{
		own + "/api/b": "http://" + domain + "/b", own + "/api": "http://" + domain + "/", "/api/b": "/b",
		// No place of the service: it would take these for /api/b, which may have a gate.
		own + "/apis": "", own + "/b": "", "/b": "", "https://example.com/api/b": "", own + ":444/b": "", own + "/%61pi/b": "", "//" + domain + "/b": "", "b": "",
	} {
		resp := p.raw("MOVE /api/a HTTP/1.1\nHost: " + domain + "\nDestination: " + to + "\nConnection: close\n\n")
		if got := resp.Header.Get("X-Destination"); got != want {
			t.Errorf("Destination %q is %q to the service, want %q", to, got, want)
		}
	}
}

// WebDAV writes to a Destination: one that another route has, or none, is no place of the
// service. Two routes of one service are one place.
func TestDestinationStaysInTheRoute(t *testing.T) {
	says := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Join(r.Header["Destination"], " "))
	}
	dav := handlerTarget(t, says)
	p, _ := serveSite(t,
		publish.Route{Path: "/dav/open/", Target: dav}, publish.Route{Path: "/dav/mine/", Target: dav}, publish.Route{Path: "/dav/open/no/", Handler: publish.Text("no")},
		publish.Route{Path: "/s/", Strip: true, Target: handlerTarget(t, says)}, publish.Route{Path: "/s/no/", Handler: publish.Text("no")},
	)
	for _, c := range [][3]string{
		{"/dav/open/x", "/dav/open/y", "/dav/open/y"}, {"/dav/open/x", "https://" + domain + "/dav/mine/a b", "http://" + domain + "/dav/mine/a b"}, {"/dav/open/x", "https://" + domain + ":443/dav/open/", "http://" + domain + "/dav/open/"},
		{"/dav/open/x", "/dav/private/y", ""}, {"/dav/open/x", "https://" + domain + "/dav/private/y", ""}, {"/dav/open/x", "/dav/open/no/y", ""}, {"/dav/open/x", "/s/y", ""}, {"/dav/open/x", "/dav/Open/y", ""},
		{"/dav/open/x", "/dav/open/../private/y", ""}, {"/dav/open/x", "/dav/open/%2e%2e/private/y", ""}, {"/dav/open/x", "//dav/open/y", ""}, {"/dav/open/x", "/dav/open//y", ""}, {"/dav/open/x", "http://" + domain + "%2Fdav%2Fprivate%2Fy@h/dav/open/y", ""},
		{"/s/x", "/s/y", "/y"}, {"/s/x", "https://" + domain + ":443/s/y", "http://" + domain + "/y"}, {"/s/x", "/s/no/y", ""}, {"/s/x", "/s/../s/y", ""}, {"/s/x", "/s//y", ""}, {"/s/x", "/dav/open/y", ""},
	} {
		resp := p.raw("MOVE " + c[0] + " HTTP/1.1\nHost: " + domain + "\nDestination: " + c[1] + "\nConnection: close\n\n")
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != c[2] {
			t.Errorf("from %s to %q: the service sees %q, want %q", c[0], c[1], got, c[2])
		}
	}
	one, _ := serveSite(t, publish.Route{Path: "/", Target: dav})
	for _, to := range []string{"//x", "/a/../b", "x", "http://other.test/x?y"} {
		resp := one.raw("MOVE /x HTTP/1.1\nHost: " + domain + "\nDestination: " + to + "\nConnection: close\n\n")
		if got, _ := io.ReadAll(resp.Body); string(got) != to {
			t.Errorf("%q is %q to the service of the only route", to, got)
		}
	}
}

// A change of the routes is for the next request, and cuts nothing: neither a
// WebSocket, nor a download, nor another stream of the visitor's connection.
func TestChangedRoutesCutNothing(t *testing.T) {
	conns := make(chan *net.TCPConn, 1)
	goOn := make(chan struct{})
	addr, ended := connService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			switches(conns)(w, r)
			return
		}
		io.WriteString(w, "old")
		http.NewResponseController(w).Flush()
		if r.URL.Path == "/slow" {
			<-goOn
			io.WriteString(w, " to its end")
		}
	})
	old := tcpTarget("http", addr)
	p, site := serveSite(t, publish.Route{Path: "/", Target: old})

	v := newH2Visitor(t, p)
	v.connect("")
	socket := <-conns
	defer socket.Close()
	if head := v.next(); head != ":status: 200\n" {
		t.Fatal(head)
	}
	old1 := p.visitor("http/1.1")
	fmt.Fprintf(old1, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", domain)
	socket1 := <-conns
	defer socket1.Close()
	br := bufio.NewReader(old1)
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	client := p.client(true)
	if _, text := get(t, client); text != "old" {
		t.Fatal(text)
	}
	slow, err := client.Get("https://" + domain + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	idle := p.client(false)
	if _, text := get(t, idle); text != "old" {
		t.Fatal(text)
	}

	site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: named(t, "new")}}})
	for name, c := range map[string]*http.Client{"a connection with a stream": client, "an idle one": idle, "a new one": p.client(true)} {
		if _, text := get(t, c); text != "new GET / \n" {
			t.Errorf("over %s: %q", name, text)
		}
	}
	<-ended // that of idle
	v.fr.WriteData(v.stream, false, []byte("still"))
	io.WriteString(old1, "there")
	for c, want := range map[net.Conn]string{socket: "still", socket1: "there"} {
		if got := hear(c, len(want)); got != want {
			t.Errorf("a WebSocket to the old service carries %q", got)
		}
	}
	close(goOn)
	if text := body(t, slow, nil); text != "old to its end" {
		t.Errorf("the old answer is %q", text)
	}
	<-ended // that of slow
	socket.Close()
	if end := v.next(); end != "END" {
		t.Errorf("the WebSocket ends with %q", end)
	}
}

// A service that stays in the routes keeps its connections to the service, and with them a
// visitor's login.
func TestChangedRoutesKeepConnectionsOfWhatStays(t *testing.T) {
	addr, ended := connService(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%p", r.Context().Value(serviceConn{}))
	})
	target := tcpTarget("http", addr)
	p, site := serveSite(t, publish.Route{Path: "/", Target: target})
	both(t, func(t *testing.T, h2 bool) {
		client := p.client(h2)
		_, before := get(t, client)
		site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/x", Handler: publish.Text("x")}, {Path: "/", Target: target}}})
		if _, after := get(t, client); after != before {
			t.Errorf("connection %s has become %s", before, after)
		}
		site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: target, ConnectTimeout: time.Minute}}})
		if _, after := get(t, client); after == before {
			t.Errorf("with other timeouts the connection is the same")
		}
		<-ended
		site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: target}}})
	})
}

// The gate sees each request before the routes, without what only a front may say.
// What it sets gets to the service, and what it refuses does not get there. A body's
// trailers and a WebSocket pass through it.
func TestGateIsBeforeTheRoutes(t *testing.T) {
	target := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%v%v%v%v", r.Header["X-Forwarded-User"], r.Header["Authorization"], r.Header["Remote-User"], r.Trailer)
	})
	conns := make(chan *net.TCPConn, 1)
	site := publish.NewSite(domain, publish.SiteConfig{
		Routes: []publish.Route{{Path: "/", Target: target}, {Path: "/ws", Target: handlerTarget(t, switches(conns))}},
		Gate: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Remote-User") != "" || r.Header.Get("X-Forwarded-User") != "" || r.Method == http.MethodConnect {
					t.Error("the gate hears a front's voice, or of CONNECT")
				}
				if r.Header.Get("Authorization") == "" {
					page.Page{Status: http.StatusUnauthorized}.Write(w, r)
					return
				}
				passed := r.Clone(r.Context())
				passed.Header.Del("Authorization")
				passed.Header.Set("X-Forwarded-User", "alice")
				next.ServeHTTP(w, passed)
			})
		},
	})
	p := serve(t, site.Server())
	for request, want := range map[string]string{
		"GET / HTTP/1.1\nHost: " + domain + "\nRemote-User: root\nConnection: close\n\n":                                                                   "401",
		"GET / HTTP/1.1\nHost: " + domain + "\nRemote-User: root\nX-Forwarded-User: root\nAuthorization: x\nConnection: close\n\n":                         "[alice][][]map[]",
		"POST / HTTP/1.1\nHost: " + domain + "\nAuthorization: x\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n2\nhi\n0\nX-Sum: 1\nRemote-User: root\n\n": "[alice][][]map[X-Sum:[1]]",
		"POST / HTTP/1.1\nHost: " + domain + "\nAuthorization: x\nTransfer-Encoding: chunked\n\n2\nhi\n0\nX-Sum: 1\n\n":                                    "[alice][][]map[X-Sum:[1]]",
	} {
		resp := p.raw(request)
		text, _ := io.ReadAll(resp.Body)
		if got := string(text); got != want && resp.Status[:3] != want {
			t.Errorf("%q: %s %q, want %q", request, resp.Status, got, want)
		}
	}
	v := newH2Visitor(t, p)
	v.headers(":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /ws", false)
	if head := v.next(); !strings.HasPrefix(head, ":status: 401\n") {
		t.Errorf("a WebSocket without a login: %q", head)
	}
	for v.next() != "RST NO_ERROR" {
	}
	v.stream += 2
	v.headers(":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: $H\n:path: /ws\nauthorization: x", false)
	if head := v.next(); head != ":status: 200\n" {
		t.Errorf("a WebSocket with one: %q", head)
	}
	(<-conns).Close()
}

// Sites share budgets: what the visitors of one take, those of another do not have.
func TestSitesShareBudgets(t *testing.T) {
	shared := publish.NewBudgets(64 << 20)
	target := named(t, "x")
	window := func(p *published) uint32 {
		v := p.visitor("h2")
		io.WriteString(v, http2.ClientPreface)
		fr := http2.NewFramer(v, v)
		fr.WriteSettings()
		fr.WritePing(false, [8]byte{})
		_, conn, _ := windows(t, fr)
		return conn
	}
	var all uint32
	for range 100 {
		site := publish.NewSite(domain, publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: target}}, Budgets: shared})
		if n := window(serve(t, site.Server())); n > publish.LeastUpload {
			all += n
		}
	}
	if all > 64<<20*3/4 {
		t.Errorf("the visitors of 100 sites have windows of %d bytes", all)
	}
}

// Check names a mistake of a route.
func TestSiteConfigCheck(t *testing.T) {
	ok := publish.Text("x")
	target := &publish.Target{URL: &url.URL{Scheme: "http", Host: "localhost:3000"}}
	for want, routes := range map[string][]publish.Route{
		"a site without routes":             nil,
		`route "/a": it is there twice`:     {{Path: "/a", Handler: ok}, {Path: "/a", Handler: ok}},
		`route "a": this is no path`:        {{Path: "a", Handler: ok}},
		`route "/a//b": this is no path`:    {{Path: "/a//b", Handler: ok}},
		`route "/%61": this is no path`:     {{Path: "/%61", Handler: ok}},
		`route "/../": this is no path`:     {{Path: "/../", Handler: ok}},
		`route "/a": strip is for a path`:   {{Path: "/a", Strip: true, Handler: ok}},
		`route "/": it needs a target or`:   {{Path: "/"}},
		`route "/b": it needs a target or`:  {{Path: "/b", Handler: ok, Target: target}},
		`route "/": a timeout is negative`:  {{Path: "/", Target: target, AnswerTimeout: -1}},
		`route "/": timeouts and health`:    {{Path: "/", Handler: ok, AnswerTimeout: 1}},
		`route "/": health: the path is m`:  {{Path: "/", Target: target, Health: publish.Health{Every: time.Second}}},
		`route "/": health: the path is n`:  {{Path: "/", Target: target, Health: publish.Health{Path: "healthz"}}},
		`route "/": health: every is not`:   {{Path: "/", Target: target, Health: publish.Health{Path: "/", Every: time.Millisecond}}},
		`route "/": the header Host is set`: {{Path: "/", Target: target, Request: publish.HeaderChanges{Set: http.Header{"Host": {"x"}}}}},
		`route "/": the header Content-Len`: {{Path: "/", Target: target, Response: publish.HeaderChanges{Remove: []string{"content-length"}}}},
		`route "/": "a b" is no name of a`:  {{Path: "/", Target: target, Response: publish.HeaderChanges{Remove: []string{"a b"}}}},
		`route "/": the value of X has byt`: {{Path: "/", Target: target, Response: publish.HeaderChanges{Set: http.Header{"X": {"a\nb"}}}}},
	} {
		if err := (publish.SiteConfig{Routes: routes}).Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	good := []publish.Route{{Path: "/", Target: target}, {Path: "/a", Handler: ok}, {Path: "/a/", Handler: ok, Strip: true}, {Path: "/café", Handler: ok}}
	if err := (publish.SiteConfig{Routes: good}).Check(); err != nil {
		t.Error(err)
	}
}

// Watch ends with its context, and follows changes of the routes meanwhile.
func TestWatchEnds(t *testing.T) {
	_, site := serveSite(t, publish.Route{Path: "/", Target: named(t, "x"), Health: publish.Health{Path: "/"}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { site.Watch(ctx); close(done) }()
	for range 10 {
		site.Set(publish.SiteConfig{Routes: []publish.Route{{Path: "/", Target: named(t, "y"), Health: publish.Health{Path: "/"}}, {Path: "/z", Target: named(t, "z")}}})
	}
	cancel()
	<-done
}

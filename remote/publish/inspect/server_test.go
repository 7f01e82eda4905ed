package inspect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// Only who knows the token, and comes from this machine and no foreign page, sees
// anything: by Host no name that DNS leads here, by Origin and Sec-Fetch-Site no other
// site, and no proxy.
func TestWhoSeesThePage(t *testing.T) {
	r := newRig(t, echo)
	r.visit("GET", "/secret-path", "")
	own, other := "/"+r.page.token+"/", "/"+strings.Repeat("A", len(r.page.token))+"/"
	for _, tt := range []struct {
		what, method, path, host string
		header                   []string
		want                     int
	}{
		{"the page", "GET", own, "127.0.0.1:4040", nil, 200},
		{"by another loopback address", "GET", own, "[::1]:1", nil, 200},
		{"by localhost, through ssh -L", "GET", own, "localhost:9999", nil, 200},
		{"a click on the address", "GET", own, "127.0.0.1:4040", []string{"Sec-Fetch-Site", "none"}, 200},
		{"script of the page", "GET", own + "api/exchanges", "127.0.0.1:4040", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"a form of the page", "POST", own + "pause", "127.0.0.1:4040", []string{"Origin", "http://127.0.0.1:4040", "Sec-Fetch-Site", "same-origin"}, 303},
		{"a program", "POST", own + "resume", "127.0.0.1:4040", nil, 303},

		{"no token", "GET", "/", "127.0.0.1:4040", nil, 403},
		{"another token", "GET", other, "127.0.0.1:4040", nil, 403},
		{"a part of the token", "GET", own[:len(own)-2] + "/", "127.0.0.1:4040", nil, 403},
		{"no token for files", "GET", "/assets/inspect.js", "127.0.0.1:4040", nil, 403},
		{"a name that DNS leads here", "GET", own, "evil.test:4040", nil, 403},
		{"one that looks like a loopback address", "GET", own, "127.0.0.1.evil.test", nil, 403},
		{"an address of a network", "GET", own, "192.168.1.2:4040", nil, 403},
		{"no host", "GET", own, "", nil, 403},
		{"another origin", "POST", own + "clear", "127.0.0.1:4040", []string{"Origin", "https://evil.test"}, 403},
		{"another port of this machine", "POST", own + "clear", "127.0.0.1:4040", []string{"Origin", "http://127.0.0.1:3000"}, 403},
		{"an origin that hides itself", "POST", own + "clear", "127.0.0.1:4040", []string{"Origin", "null"}, 403},
		{"over TLS, which it does not speak", "GET", own, "127.0.0.1:4040", []string{"Origin", "https://127.0.0.1:4040"}, 403},
		{"from another site", "GET", own, "127.0.0.1:4040", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"from another port", "GET", own + "api/exchanges", "127.0.0.1:4040", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"through a proxy", "GET", own, "127.0.0.1:4040", []string{"X-Forwarded-For", "6.6.6.6"}, 403},
	} {
		req := httptest.NewRequest(tt.method, tt.path, nil)
		req.Host = tt.host
		for n := 0; n < len(tt.header); n += 2 {
			req.Header.Set(tt.header[n], tt.header[n+1])
		}
		w := httptest.NewRecorder()
		r.page.ServeHTTP(w, req)
		if w.Code != tt.want || w.Code == 403 && strings.Contains(w.Body.String(), "secret-path") {
			t.Errorf("%s: %d, want %d: %.100s", tt.what, w.Code, tt.want, w.Body)
		}
	}
	if all, _ := r.in.all(); len(all) != 1 {
		t.Error("somebody has cleared it")
	}
}

// The page takes nothing from elsewhere and runs nothing that stands in it; whatever
// visitors send is text there.
func TestPageAllowsNothingForeign(t *testing.T) {
	r := newRig(t, echo)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	r.visit("GET", "/"+strings.ReplaceAll(evil, " ", "+"), "", "X-Evil", evil)
	r.visit("POST", "/post", evil, "Content-Type", "text/html", `X-Note`, `{{.}}`)
	r.visit("POST", "/form", "name=%3Cscript%3E&"+strings.ReplaceAll(evil, " ", "+"), "Content-Type", "application/x-www-form-urlencoded")
	r.visit("GET", "/javascript:alert(1)", "")
	for _, path := range []string{"/", "/?q=%22%3E%3Cscript%3E", "/x/1", "/x/2", "/x/3", "/x/4", "/x/2/replay", "/compare?a=1&b=2"} {
		w := r.ask("GET", path, "")
		body := w.Body.String()
		if w.Code != 200 || w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if strings.Contains(body, "<img") || regexp.MustCompile(`<script[^>]*>[^<]|<script>|\son\w+="|style=|javascript:alert\(1\)"`).MatchString(body) || strings.Count(body, "<script") != 2 {
			t.Errorf("%s has script in it", path)
		}
		for _, m := range regexp.MustCompile(`(?:src|href|action|hx-get|hx-post|data-copy)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			if !strings.HasPrefix(m[1], "/"+r.page.token+"/") && m[1] != "#detail" {
				t.Errorf("%s leads to %s", path, m[1])
			}
		}
	}
	if w := r.ask("GET", "/x/2/body/answer", ""); w.Header().Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") ||
		!strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") || w.Body.String() != evil {
		t.Errorf("a body comes as %v", w.Header())
	}
}

// Secrets of visitors are in no page, list, search, command or file that did not ask for
// them, and come one by one for who does.
func TestSecretsAreMaskedUntilTheyAreAskedFor(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Set-Cookie", "id=hush4") })
	names := []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Auth-Token", "X-Hub-Signature-256", "Stripe-Signature", "X-Amz-Security-Token", "Api_Key", "X-CSRF-Token", "X-Session-Id"}
	header := []string{"X-Plain", "seen", "Idempotency-Key", "shown", "Accept", "author/ization"}
	for i, n := range names {
		header = append(header, n, fmt.Sprint("hush", i, " and more"))
	}
	r.visit("GET", "/", "", header...)
	for _, path := range []string{"/", "/x/1", "/x/1/replay", "/x/1/curl", "/har", "/har?id=1", "/compare?a=1&b=1", "/api/exchanges", "/api/exchanges/1"} {
		body := r.get(path)
		if strings.Contains(body, "hush") {
			t.Errorf("%s shows a secret: %s", path, regexp.MustCompile(`.{0,60}hush.{0,20}`).FindString(body))
		}
		if path != "/" && path != "/api/exchanges" && (!strings.Contains(body, "seen") || !strings.Contains(body, "shown")) {
			t.Errorf("%s shows too little", path)
		}
	}
	if found := r.get("/api/exchanges?q=hush0"); strings.Contains(found, `"id":1`) {
		t.Error("a search finds a secret")
	}
	if v := r.get("/x/1/value?side=request&name=Cookie&at=0"); v != "hush2 and more\n" {
		t.Error(v)
	}
	if v := r.get("/x/1/value?side=answer&name=Set-Cookie&at=0", "HX-Request", "true"); !strings.Contains(v, ">id=hush4<") {
		t.Error(v)
	}
	for _, path := range []string{"/x/1/value?side=request&name=Cookie&at=1", "/x/1/value?side=request&name=None&at=0", "/x/1/value?name=Cookie&at=-1"} {
		if w := r.ask("GET", path, ""); w.Code != 404 {
			t.Error(path, w.Code)
		}
	}
	for _, path := range []string{"/x/1/curl?secrets=1", "/har?secrets=1", "/api/exchanges/1?secrets=1"} {
		if !strings.Contains(r.get(path), "hush0") {
			t.Errorf("%s does not show what was asked for", path)
		}
	}
}

// The page listens to this machine alone, says its address, and ends in good order.
func TestServerListensOnLoopback(t *testing.T) {
	for _, wrong := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "localhost:0", "127.0.0.1"} {
		if s, err := Start(wrong, new(Inspector)); err == nil {
			s.Close()
			t.Errorf("%s is taken", wrong)
		}
	}
	if _, err := Start("0.0.0.0:4040", new(Inspector)); !errors.Is(err, ErrNotLoopback) {
		t.Error(err)
	}
	in := new(Inspector)
	s, err := Start("127.0.0.1:0", in)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/[A-Z2-7]{26}/$`).MatchString(s.URL()) {
		t.Error(s.URL())
	}
	tr := new(http.Transport)
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: patience}
	resp, err := client.Get(s.URL() + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	news := func() (data string) {
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return v
			}
		}
		return "nothing"
	}
	if got := news(); got != "0" {
		t.Error(got)
	}
	in.Wrap(shop, http.HandlerFunc(echo)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if got := news(); got != "1" {
		t.Error(got)
	}
	s.Close()
	if got := news(); got != "nothing" {
		t.Error("it goes on:", got)
	}
}

// Each page that watches is a connection that stays: there are so many at most.
func TestViewersAreBounded(t *testing.T) {
	r := newRig(t, echo)
	r.page.viewers.Store(maxViewers)
	if w := r.ask("GET", "/events", ""); w.Code != http.StatusServiceUnavailable || r.page.viewers.Load() != maxViewers {
		t.Error(w.Code, r.page.viewers.Load())
	}
}

// The list finds what is looked for, and says what it does not have.
func TestListShowsWhatIsLookedFor(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/bad" {
			w.WriteHeader(http.StatusBadGateway)
		}
		echo(w, q)
	})
	if body := r.get("/"); !strings.Contains(body, "Nothing yet.") {
		t.Error(body)
	}
	r.visit("GET", "/Alpha", "")
	r.visit("POST", "/beta?x=1", `{"Colour":"red"}`, "Content-Type", "application/json")
	r.visit("GET", "/bad", "", "User-Agent", "Probe/7")
	for q, want := range map[string]string{
		"": "3 2 1", "alpha": "1", "method:post": "2", "method:POST": "2", "status:502": "3", "status:5xx": "3", "status:2xx": "2 1", "-status:2xx": "3", "is:error": "3",
		"type:json": "2", "colour": "2", "red beta": "2", "red alpha": "", "probe/7": "3", "path:/b": "3 2", "name:shop": "3 2 1", "over:10h": "", "is:running": "", "is:replay": "", "is:nonsense": "", "nonsense:x": "",
	} {
		var p apiPage
		if err := json.Unmarshal([]byte(r.get("/api/exchanges?q="+strings.ReplaceAll(q, " ", "+"))), &p); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range p.Exchanges {
			got = append(got, fmt.Sprint(e.ID))
		}
		if strings.Join(got, " ") != want || p.Kept != 3 {
			t.Errorf("%q finds %v, want %s", q, got, want)
		}
	}
	if part := r.get("/?q=alpha", "HX-Request", "true", "HX-Target", "list"); !strings.HasPrefix(part, `<div id="list"`) || !strings.Contains(part, "1 found of 3 kept") {
		t.Error(part)
	}
	if w := r.ask("GET", "/x/99", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "not kept any more") {
		t.Error(w.Code)
	}
}

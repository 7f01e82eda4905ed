package page_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"keystay/relay/names"
	"keystay/relay/operator"
)

// On this machine everybody may look, without any lever; from elsewhere nobody may who
// has not signed in, and without users nobody at all.
func TestWhoSeesThePage(t *testing.T) {
	forwarded := header("X-Forwarded-For", "192.0.2.7")
	host := func(name string) change { return func(r *http.Request) { r.Host = name } }
	proxied := host("ops.example")
	for _, c := range []struct {
		what   string
		users  string
		change change
		status int
	}{
		{"here", "", header(), 200}, {"here, with users", ada, header(), 200},
		{"elsewhere", "", elsewhere, 403}, {"elsewhere, with users", ada, elsewhere, 303},
		{"behind a proxy here", "", forwarded, 403}, {"behind a proxy here, with users", ada, forwarded, 303},
		{"by a proxy's name", "", proxied, 403}, {"by a proxy's name, with users", ada, proxied, 303},
		{"from here to another address", ada, from("127.0.0.1:9", "192.0.2.1:9440"), 303},
		{"over IPv6", "", from("[::1]:9", "[::1]:9440"), 200},
		{"by 127.0.0.1", "", host("127.0.0.1:9440"), 200}, {"by [::1]", "", host("[::1]:9440"), 200},
		{"through a forwarded port, by its address", ada, host("192.0.2.1:9440"), 303},
		{"through a forwarded port, by its IPv6 address", "", host("[2001:db8::1]:9440"), 403},
	} {
		r := newRig(t, c.users)
		for _, path := range []string{"/", "/remotes", "/names", "/tokens", "/bans", "/bans?kind=address", "/audit"} {
			resp := r.get(path, c.change)
			body := text(resp)
			if resp.StatusCode != c.status {
				t.Errorf("%s, %s: %s", c.what, path, resp.Status)
			}
			if strings.Contains(body, "/lever/") || strings.Contains(body, "Sign out") {
				t.Errorf("%s, %s: there is a lever for a stranger", c.what, path)
			}
			if resp.StatusCode != 200 && strings.Contains(body, "n1.relay.test") {
				t.Errorf("%s, %s: a name is told", c.what, path)
			}
			if to := resp.Header.Get("Location"); c.status == 303 && to != "/sign-in?to="+url.QueryEscape(path) {
				t.Errorf("%s, %s: sent to %q", c.what, path, to)
			}
		}
		if c.status == 200 {
			continue
		}
		if resp := r.get("/events", c.change); resp.StatusCode != 401 {
			t.Errorf("%s: events: %s", c.what, resp.Status)
		}
	}
}

// A page lets the browser run and load nothing but what the relay brings, and is not
// stored, framed or told to others.
func TestPageAllowsNothingForeign(t *testing.T) {
	r := newRig(t, ada)
	as := r.signIn()
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|https?://`)
	for _, path := range []string{"/", "/remotes", "/names", "/tokens", "/bans", "/audit", "/lever/ban", "/lever/drain", "/nothing"} {
		resp := r.get(path, as.cookie)
		h := resp.Header
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") ||
			h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", path, h)
		}
		if found := inline.FindString(text(resp)); found != "" {
			t.Errorf("%s: %q", path, found)
		}
	}
	body := text(r.get("/remotes"))
	if !strings.Contains(body, "&lt;b&gt;agent [2J") {
		t.Errorf("what a remote calls itself is not shown as text: %s", body)
	}
	for _, asset := range regexp.MustCompile(`/assets/[^"]+`).FindAllString(body, -1) {
		if resp := r.get(asset); resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s", asset, resp.Status)
		}
	}
	for _, path := range []string{"/assets/page.go", "/assets/../page.go", "/assets/", "/assets/README.md"} {
		if resp := r.get(path); resp.StatusCode == 200 {
			t.Errorf("%s is served", path)
		}
	}
}

// Each lever does what the API does, with who is signed in and the reason in the audit
// log.
func TestLeversPullThoseOfTheAPI(t *testing.T) {
	r := newRig(t, ada)
	if _, err := r.names.Reserve("shop.relay.test", ""); err != nil {
		t.Fatal(err)
	}
	secret, token, err := r.names.CreateToken(names.TokenInfo{Names: []string{"*.relay.test"}})
	if err != nil || secret == "" {
		t.Fatal(err)
	}
	as := r.signIn()
	for _, c := range []struct {
		lever string
		form  []string
		says  string
		what  string
		on    string
	}{
		{"kick", []string{"kind", "identity", "of", label}, "2 links and 1 visitor were cut.", "remotes.kick", label},
		{"kick", []string{"kind", "address", "of", "192.0.2.1:5"}, "2 links", "remotes.kick", "192.0.2.1:5"},
		{"ban", []string{"kind", "name", "of", "BAD.relay.test", "for", "30d"}, "bad.relay.test is banned. 2 links", "names.ban", "bad.relay.test"},
		{"ban", []string{"kind", "identity", "of", label}, label + " is banned.", "identities.ban", label},
		{"ban", []string{"kind", "address", "of", "203.0.113.9"}, "203.0.113.9/32 is banned.", "addresses.ban", "203.0.113.9/32"},
		{"unban", []string{"kind", "address", "of", "203.0.113.9/32"}, "is lifted", "addresses.unban", "203.0.113.9/32"},
		{"revoke", []string{"of", token.ID, "names", "1"}, "0 names are released", "token.revoke", token.ID},
		{"drain", []string{"sure", "1"}, "The relay drains", "drain", ""},
	} {
		resp, body := r.pull(as, c.lever, append(c.form, "reason", "because of "+c.lever)...)
		if resp.StatusCode != 200 || !strings.Contains(body, c.says) {
			t.Errorf("%s: %s, %s", c.lever, resp.Status, body)
		}
		last, err := r.api.Audit.Last(1, time.Time{})
		if err != nil || len(last) != 1 || last[0].Who != "page user ada" || last[0].What != c.what || last[0].On != c.on || last[0].Reason != "because of "+c.lever || last[0].Result != "done" {
			t.Errorf("%s: %+v, %v", c.lever, last, err)
		}
	}
	for what, c := range map[string]struct {
		lever  string
		form   []string
		status int
		says   string
	}{
		"a name that nobody has": {"release", []string{"of", "free.relay.test"}, 404, "relay names list"},
		"no name":                {"ban", []string{"kind", "name", "of", "shop"}, 400, "did you mean shop.relay.test?"},
		"the relay itself":       {"ban", []string{"kind", "name", "of", "relay.test"}, 400, "this relay with all of its names"},
		"no length of time":      {"ban", []string{"kind", "name", "of", "a.relay.test", "for", "ever"}, 400, "as in 90m"},
		"a reason of two lines":  {"kick", []string{"kind", "identity", "of", label, "reason", "a\nb"}, 400, "not one line of text"},
		"a drain by mistake":     {"drain", nil, 400, "Tick that you mean it"},
		"no lever":               {"explode", nil, 404, "no such page"},
	} {
		resp, body := r.pull(as, c.lever, c.form...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %s, %s", what, resp.Status, body)
		}
	}
}

// A lever is for forms of this page and this sign-in alone.
func TestForeignFormsPullNoLever(t *testing.T) {
	r := newRig(t, ada)
	as := r.signIn()
	form := url.Values{"kind": {"identity"}, "of": {label}, "token": {as.token}}
	for what, c := range map[string]struct {
		form    url.Values
		status  int
		changes []change
	}{
		"another site":              {form, 403, []change{as.cookie, header("Sec-Fetch-Site", "cross-site")}},
		"another port of this host": {form, 403, []change{as.cookie, header("Sec-Fetch-Site", "same-site", "Origin", "http://localhost:3000")}},
		"another origin":            {form, 403, []change{as.cookie, header("Origin", "http://evil.example")}},
		"no origin":                 {form, 403, []change{as.cookie, header("Origin", "null")}},
		"an address typed":          {form, 403, []change{as.cookie, header("Sec-Fetch-Site", "none")}},
		"no word of a browser":      {form, 403, []change{as.cookie, func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") }}},
		"two origins":               {form, 403, []change{as.cookie, func(r *http.Request) { r.Header.Add("Origin", "http://localhost:9440") }}},
		"no token":                  {url.Values{"kind": {"identity"}, "of": {label}}, 403, []change{as.cookie}},
		"another token":             {url.Values{"kind": {"identity"}, "of": {label}, "token": {strings.Repeat("A", 26)}}, 403, []change{as.cookie}},
		"nobody signed in":          {form, 303, nil},
		"another cookie":            {form, 303, []change{header("Cookie", "keystay-operator-00000000=x")}},
		"in the query":              {nil, 403, []change{as.cookie, func(r *http.Request) { r.URL.RawQuery = form.Encode() }}},
		"a body that is too long":   {url.Values{"token": {as.token}, "reason": {strings.Repeat("x", 20<<10)}}, 403, []change{as.cookie}},
	} {
		if resp := r.do("POST", "/lever/kick", c.form, c.changes...); resp.StatusCode != c.status {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
	if resp := r.get("/lever/kick?"+form.Encode()+"&token="+as.token, as.cookie); resp.StatusCode != 200 || len(r.relay.cuts) != 0 {
		t.Errorf("a GET: %s, %v", resp.Status, r.relay.cuts)
	}
}

// Lists come in pages of a hundred, and what is looked for is found in all of them.
func TestListsComeInPages(t *testing.T) {
	r := newRig(t, ada)
	r.relay.remotes = 1050
	seen := 0
	for next := "/remotes"; next != ""; {
		body := text(r.get(next, header("HX-Request", "true")))
		if strings.Contains(body, "<html") || !strings.HasPrefix(body, `<div id="list"`) {
			t.Fatalf("a part is a whole page: %.200s", body)
		}
		n := strings.Count(body, "<tr role=\"row\">\n<td")
		if n > 100 {
			t.Errorf("%d rows", n)
		}
		seen += n
		m := regexp.MustCompile(`href="([^"]+)">Next 100`).FindStringSubmatch(body)
		next = ""
		if m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if seen != 1050 {
		t.Errorf("%d remotes are shown", seen)
	}
	body := text(r.get("/remotes?q=N104"))
	if n := strings.Count(body, "<tr role=\"row\">\n<td"); n != 11 || !strings.Contains(body, `value="n104"`) {
		t.Errorf("%d are found", n)
	}
	if body := text(r.get("/remotes?q=nobody")); !strings.Contains(body, "No remote that is connected has “nobody”") {
		t.Error(body)
	}
	for i := range 105 {
		if _, err := r.names.Ban(names.Ban{Kind: names.BanName, Of: fmt.Sprintf("b%03d.relay.test", i), Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if body := text(r.get("/bans")); strings.Count(body, "<tr role=\"row\">\n<td") != 100 || !strings.Contains(body, "after=b099.relay.test") {
		t.Errorf("bans: %.300s", body)
	}
	if body := text(r.get("/bans?q=b09")); strings.Count(body, "<tr role=\"row\">\n<td") != 10 {
		t.Errorf("bans with b09: %.300s", body)
	}
}

// A browser that watches is told what there was, then what there is, until the relay
// stops; then it asks again.
func TestBrowsersAreToldWhatGoesOn(t *testing.T) {
	r := newRig(t, "")
	addr, stop := r.serve()
	defer stop()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", addr)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	b := bufio.NewReader(resp.Body)
	for _, want := range []string{"history", "now"} {
		name, data := event(t, b)
		var got struct{ Links []int }
		if err := json.Unmarshal([]byte(data), &got); err != nil || name != want || want == "now" && (len(got.Links) != 1 || got.Links[0] != 6) {
			t.Errorf("%s: %s, %v", name, data, err)
		}
	}
	r.relay.mu.Lock()
	r.relay.stopping = true
	r.relay.mu.Unlock()
	for {
		if _, err := b.ReadString('\n'); err != nil {
			break // the stream is over
		}
	}
}

// Few watch at once.
func TestViewersAreBounded(t *testing.T) {
	r := newRig(t, "")
	addr, stop := r.serve()
	defer stop()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	ask := func() int {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", addr)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	for i := range 32 {
		if status := ask(); status != 200 {
			t.Fatalf("viewer %d: %d", i, status)
		}
	}
	if status := ask(); status != 503 {
		t.Errorf("one more: %d", status)
	}
}

// Those who ask for pages and do not read them hold up nobody else.
func TestWhoeverDoesNotReadHoldsUpNobody(t *testing.T) {
	r := newRig(t, ada)
	var stuck []*unread
	for range 8 {
		u := &unread{ResponseRecorder: httptest.NewRecorder(), writes: make(chan struct{}), read: make(chan struct{})}
		stuck = append(stuck, u)
		req := httptest.NewRequest("GET", "/sign-in", nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.page.ServeHTTP(u, req)
		}()
		defer func() { <-ended }()
		defer close(u.read)
	}
	for i, u := range stuck {
		select {
		case <-u.writes:
		case <-time.After(time.Minute):
			t.Fatalf("page %d is not made, since those before it are not read", i)
		}
	}
	if resp := r.get("/sign-in"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// Pages that nobody reads are bounded, since each is held until then; the small one to
// sign in on always comes.
func TestPagesOnTheirWayAreBounded(t *testing.T) {
	r := newRig(t, ada)
	r.relay.remotes = 100
	for i := range 64 {
		u := &unread{ResponseRecorder: httptest.NewRecorder(), writes: make(chan struct{}), read: make(chan struct{})}
		req := httptest.NewRequest("GET", "/remotes", nil)
		req.Host = "localhost:9440"
		from("127.0.0.1:999", "127.0.0.1:9440")(req)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.page.ServeHTTP(u, req)
		}()
		defer func() { <-ended }()
		defer close(u.read)
		select {
		case <-u.writes:
		case <-time.After(time.Minute):
			t.Fatalf("page %d is not made", i)
		}
	}
	for path, want := range map[string]int{"/remotes": 503, "/sign-in": 200} {
		if resp := r.get(path); resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// An unread answer is one that nobody reads until read is closed.
type unread struct {
	*httptest.ResponseRecorder
	writes, read chan struct{}
}

func (u *unread) Write(b []byte) (int, error) {
	close(u.writes)
	<-u.read
	return len(b), nil
}

// In a takeover the page says so, and shows nothing stale.
func TestPageSaysThatANewProcessTakesOver(t *testing.T) {
	r := newRig(t, "")
	r.api.Pause()
	resp := r.get("/remotes")
	if body := text(resp); resp.StatusCode != 503 || !strings.Contains(body, "A new process is taking over.") {
		t.Errorf("%s: %s", resp.Status, body)
	}
	r.api.Resume()
}

// The overview has the state of the relay, its limits and its budgets.
func TestOverviewShowsTheState(t *testing.T) {
	r := newRig(t, "")
	until := time.Now().Add(80 * 24 * time.Hour)
	r.api.About = func(st *operator.Status) {
		st.Domain, st.Why, st.CertificateUntil = "relay.test", "no certificate yet", &until
	}
	body := text(r.get("/"))
	for _, want := range []string{"not ready", "no certificate yet", "Limit met: address rate", "in 79 d", "shows only"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}

// A page of a long list, with the rows that it has at most.
func BenchmarkRemotes(b *testing.B) {
	r := newRig(b, "")
	r.relay.remotes = 10_000
	for b.Loop() {
		resp := r.get("/remotes")
		if n := len(text(resp)); resp.StatusCode != 200 || n < 10_000 || n > 200_000 {
			b.Fatal(resp.Status, n)
		}
	}
}

// What comes from elsewhere is what its table says.
func TestForeignFilesAreThoseOfTheTable(t *testing.T) {
	table, err := os.ReadFile("assets/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*`([0-9a-f]{64})`").FindAllStringSubmatch(string(table), -1)
	if len(rows) != 2 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		b, err := os.ReadFile("assets/" + row[1])
		if sum := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || sum != row[2] {
			t.Errorf("%s has %s (%v)", row[1], sum, err)
		}
	}
}

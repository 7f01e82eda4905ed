package gate_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/remote/publish/gate"
)

// The hostile round: everything here tries to get past a gate.

// No spelling of a path gets to what is behind a rule for it.
func TestNoSpellingOfAPathPassesTheGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin", "/über"}, Passwords: users(t, "ada:wind")})
	for _, target := range []string{
		"/admin", "/admin/", "/admin/x", "/admin?x", "/admin/?/../", "/admin/..%2fx", "/admin?/public",
		"/Admin", "/ADMIN/x", "/%61dmin", "/admi%6E", "/%41DMIN", "/adm\u0131n/../admin", "/admin%00", "/admin%20", "/admin.", "/admin./x", "/admin%2e",
		"//admin", "/./admin", "/x/../admin", "/x//../admin", "/.//admin", "///admin", "/x/%2e%2e/admin", "/x/%2E./admin", "/x/.%2e/admin", "/x/..%2fadmin", "/x%2f..%2fadmin",
		"/%2fadmin", "/%2Fadmin", `/\admin`, `/x\..\admin`, "/%5cadmin", "/x/..%5cadmin", "/x%5c..%5cadmin",
		"/;/admin", "/admin;", "/admin;x=y", "/admin;/x", "/x/..;/admin", "/x/..;y/admin", "/x;/../admin", "/x/%2e%2e;/admin", "/%3badmin", "/admin%3bx",
		"/%2561dmin", "/%25%36%31dmin", "/x/%252e%252e/admin", "/x/%252e%252e%252fadmin", "/%c0%aeadmin", "/x/..%c0%afadmin", "/%u0061dmin", "/%zzadmin", "/admin%", "/x/%c0%ae%c0%ae/admin",
		"/\u212A/../admin", "/admin%E3%80%80", "/%EF%BC%8Fadmin", "/x%EF%BC%8F..%EF%BC%8Fadmin", "/ａdmin", "/%EF%BD%81dmin", "/x/\u2025/admin", "/x/%E2%80%A5/admin",
		"/admin~1", "/ADMIN~1", "/admin::$DATA", "/admin:$I30:$INDEX_ALLOCATION",
		"/adm%C4%B1n", "/ADM%C4%B0N", "/adm%E2%80%8Cin/x", "/%C2%ADadmin", "/admin%EF%B8%8F",
		"/über", "/%C3%BCber", "/%C3%9CBER", "/u%CC%88ber", "/ÜBER/x",
		"http://" + name + "/admin", "https://" + name + "/admin", "http://" + name + "//admin", "HTTP://x@" + name + "/admin",
		"*", "admin", "x:admin", "/admin\t", "/admin#x", "/#/../admin", "/x?/../admin#/admin",
	} {
		before := len(x.got)
		resp := x.get(target)
		r, n := x.last()
		// A path gets through only where nobody takes it for one of these.
		if n > before && !harmless(r.RequestURI) {
			t.Errorf("%q got to the service: %s", target, resp.Status)
		}
		if n == before && resp.StatusCode != 400 && resp.StatusCode != 401 && resp.StatusCode != 404 {
			t.Errorf("%q: %s", target, resp.Status)
		}
		if resp.Header.Get("Cache-Control") != "no-store" && n == before {
			t.Errorf("%q: an answer that may be stored", target)
		}
	}
	for _, open := range []string{"/", "/adminx", "/x/admin", "/x?/admin", "/admi", "/adm%C4%93n", "http://" + name + "?/../admin"} {
		x.want(open, x.get(open), http.StatusOK)
	}
}

// harmless reports whether a target is of a path that is open in the test above.
func harmless(target string) bool {
	return target == "/x?/../admin#/admin" // a query is no path; a number sign in it is Target's to refuse
}

// Some services take a plus in a path for a space.
func TestAPlusIsASpaceForSome(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/our photos", "/a+b"}, Passwords: users(t, "ada:wind")})
	for target, status := range map[string]int{
		"/our%20photos/x": 401, "/our+photos": 401, "/Our+Photos/x": 401, "/our%2Bphotos/x": 401, "/our%EF%BC%8Bphotos": 401,
		"/a+b": 401, "/a%20b": 401, "/a%2Bb": 401, "/open/c++/a+b": 200, "/ourphotos": 200, "/our+photo": 200,
	} {
		x.want(target, x.get(target), status)
	}
}

// Where a plus is a space, one at the end of a name may be left out, as spaces are that are
// written as %20, and a dot or a name of 8.3 may be before it.
func TestAPlusAtTheEndOfANameIsNoneForSome(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/photos", "/a b/docs", "/c++", "/x/+"}, Passwords: users(t, "ada:wind")})
	for target, status := range map[string]int{
		"/photos+": 401, "/photos+/x": 401, "/Photos++/x": 401, "/photos.+": 401, "/photos+.+/": 401, "/a+b+/docs+": 401, "/C++/x": 401,
		"/PHOTOS~1+": 400, "/x/..+/photos": 400, "/.+/photos": 400,
		"/c": 200, "/d++/x": 200, "/+/photos": 200, "/+": 200, "/x/y": 200, "/photo+": 200, "/photos+x": 200, "/1+1=2+": 200,
	} {
		x.want(target, x.get(target), status)
	}
	for _, c := range []struct{ method, path, to string }{
		{"DELETE", "/a+b+", "/x"}, {"DELETE", "/A+B+/", "/x"}, {"PUT", "/open", "/photos+"}, {"MOVE", "/open", "/a%20b+"},
	} {
		x.want(c.method+" "+c.path, x.do(c.method, c.path, nil, header("Destination", c.to)), 401)
	}
}

// A path that has other spellings is slow to look at, and a visitor may send 64 KiB of it
// with each request: long ones are in doubt, before they are looked at.
func TestLongPathsWithOtherSpellingsAreInDoubt(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	for _, one := range []string{"\uFDFA", "\uFB03", "\u3300", "\u00E9", "\u200B"} {
		long := "/" + strings.Repeat(one, 20000)
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		x.want(fmt.Sprintf("%+q", one), x.get(long), 400)
		runtime.ReadMemStats(&behind)
		if n := behind.TotalAlloc - before.TotalAlloc; n > uint64(12*len(long)) {
			t.Errorf("%d bytes of %+q take %d", len(long), one, n)
		}
		for _, method := range []string{"COPY", "PUT"} {
			x.want(fmt.Sprintf("%s to %+q", method, one), x.do(method, "/open", nil, header("Destination", long)), 400)
		}
	}
	x.want("a long path of ASCII", x.get("/"+strings.Repeat("a", 20000)), 200)
	x.want("a path as long as Linux takes one", x.get("/"+strings.Repeat("\u00E9", 2000)), 200)
	x.want("a long path without case", x.get("/ADMIN/"+strings.Repeat("a", 20000)), 401)
}

// The gate's own paths never get to the service, in any spelling and by any method,
// also for whoever is signed in.
func TestOwnPathsNeverGetToTheService(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	for _, target := range []string{
		signInPath, signOutPath, "/.well-known/keystay/", "/.well-known/keystay/x", "/.well-known/keystay/link/x", "/.well-known/keystay/callback?state=x&code=y",
		"/.well-known/keystay//sign-in", "/.Well-Known/KEYSTAY/sign-in", "/x/../.well-known/keystay/sign-in", "/.well-known/keystay/../keystay/x", "/.well-known%2fkeystay%2fsign-in",
		"/%2ewell-known/keystay/sign-in", `/.well-known\keystay\sign-in`, "/.well-known/keystay;x/sign-in", "//.well-known/keystay/sign-in", "/.well-known/%6beystay/x", "/.well-known/\u212Aeystay/x",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"} {
			resp := x.do(method, target, nil, basic("ada", "wind"))
			if _, n := x.last(); n != 0 {
				t.Fatalf("%s %s got to the service: %s", method, target, resp.Status)
			}
		}
	}
	x.want("the identity's own document", x.get("/.well-known/keystay", basic("ada", "wind")), http.StatusOK)
}

// A request for another host gets nothing, whatever it proves.
func TestOtherHostsGetNothing(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	for _, host := range []string{"", "other.relay.test", "relay.test", "x." + name, name + ".evil.test", name + "@evil.test", "evil.test@" + name, name + ":x", "[::1]", "127.0.0.1", name + "/x", " " + name, "xyz\u3002relay.test"} {
		x.want(host, x.get("/", basic("ada", "wind"), func(r *http.Request) { r.Host = host }), http.StatusMisdirectedRequest)
	}
	for _, host := range []string{name, strings.ToUpper(name), name + ".", name + ":443", name + ":8443"} {
		x.want(host, x.get("/", basic("ada", "wind"), func(r *http.Request) { r.Host = host }), http.StatusOK)
	}
}

// Fields and methods that say something else than the request line change nothing, and
// what they say of a user does not get through.
func TestNoFieldOpensTheGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind"), Addresses: nil, TrustedAddresses: ranges("10.0.0.0/8"), Header: true})
	fields := []string{
		"X-Original-URL", "/", "X-Rewrite-URL", "/", "X-Forwarded-For", "10.0.0.1", "X-Real-IP", "10.0.0.1", "Forwarded", "for=10.0.0.1", "True-Client-IP", "10.0.0.1", "CF-Connecting-IP", "10.0.0.1",
		"X-Forwarded-User", "ada", "X-Forwarded-Email", "ada@example.com", "X-Forwarded-Groups", "root", "Remote-User", "ada", "X-Forwarded-Host", "other", "X-HTTP-Method-Override", "GET", "X-Method-Override", "OPTIONS", "X-HTTP-Method", "HEAD",
		"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Proxy-Authorization", "Basic YWRhOndpbmQ=", "Cookie2", "x=y", "Connection", "Cookie, Authorization", "Upgrade", "websocket", "Purpose", "prefetch",
	}
	for i := 0; i < len(fields); i += 2 {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "CONNECT", "TRACE", "X-ODD"} {
			resp := x.do(method, "/admin", nil, header(fields[i], fields[i+1]))
			x.want(method+" with "+fields[i], resp, http.StatusUnauthorized)
		}
	}
	x.want("to what is open", x.get("/", header(fields...)), http.StatusOK)
	r, n := x.last()
	if n != 1 {
		t.Fatalf("the service got %d requests", n)
	}
	for _, field := range []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "Remote-User", "X-Original-Url", "X-Rewrite-Url", "X-Real-Ip"} {
		if v := r.Header.Values(field); len(v) > 0 {
			t.Errorf("the service was told %s: %q", field, v)
		}
	}
}

// A cookie is good for its name, its rule, its user and this device alone, as it is.
func TestCookiesAreGoodForOneThingAlone(t *testing.T) {
	store, passwords := open(t, ""), users(t, "ada:wind", "bob:rain")
	rules := []gate.Rule{{Paths: []string{"/a"}, Passwords: passwords}, {Paths: []string{"/b"}, Passwords: passwords}}
	x := newRig(t, store, rules...)
	c := x.signIn("ada", "wind", "/a")[0]
	with := func(value string) change {
		return func(r *http.Request) { r.Header.Set("Cookie", c.Name+"="+value) }
	}
	x.want("the cookie", x.get("/a", with(c.Value)), http.StatusOK)
	_, reached := x.last()

	other := x.signIn("ada", "wind", "/b")[0]
	if other.Name == c.Name {
		t.Fatalf("both rules have the cookie %s", c.Name)
	}
	x.want("the other rule's, under this one's name", x.get("/a", with(other.Value)), http.StatusUnauthorized)
	x.want("this rule's, for the other path", x.get("/b", with(c.Value)), http.StatusUnauthorized)

	elsewhere, err := gate.New(gate.Config{Name: "other.relay.test", Store: store, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	foreign := &rig{t: t, store: store, gate: elsewhere, handler: elsewhere.Wrap(x.handler)}
	x.want("at another name of the device", foreign.get("/a", with(c.Value), func(r *http.Request) { r.Host = "other.relay.test" }), http.StatusUnauthorized)
	x.want("at another device", newRig(t, nil, rules...).get("/a", with(c.Value)), http.StatusUnauthorized)

	payload, sum, _ := strings.Cut(c.Value, ".")
	for i := range c.Value {
		for _, b := range []byte{c.Value[i] ^ 1, 'A', '.', '\n', '='} {
			if edited := c.Value[:i] + string(b) + c.Value[i+1:]; edited != c.Value {
				x.want(fmt.Sprintf("with byte %d edited", i), x.get("/a", with(edited)), http.StatusUnauthorized)
			}
		}
		x.want("cut short", x.get("/a", with(c.Value[:i])), http.StatusUnauthorized)
	}
	var claims map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(payload)
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	claims["u"] = map[string]any{"n": "bob"}
	forged, _ := json.Marshal(claims)
	for _, value := range []string{
		"", ".", payload, payload + ".", "." + sum, base64.RawURLEncoding.EncodeToString(forged) + "." + sum, base64.RawURLEncoding.EncodeToString(forged) + ".",
		c.Value + "." + sum, payload + "." + sum + "=", payload + "." + sum + "AA", c.Value + strings.Repeat("A", 5000), strings.Repeat("A", 1<<16) + ".A", `"` + c.Value + `"`,
	} {
		x.want("forged", x.get("/a", func(r *http.Request) { r.Header.Set("Cookie", c.Name+"="+value) }), http.StatusUnauthorized)
	}
	// Over HTTP/1 a name may be there more than once: the first few are looked at.
	flood := strings.Repeat(c.Name+"=x; ", 1000)
	x.want("behind a flood of others", x.get("/a", func(r *http.Request) { r.Header.Set("Cookie", flood+c.Name+"="+c.Value) }), http.StatusUnauthorized)
	if _, n := x.last(); n != reached {
		t.Errorf("the service got %d requests more", n-reached)
	}
}

// A cookie ends when its user signs out, also on other connections, after a restart and
// while a request runs; and with nothing else of the user's.
func TestSignOutEndsTheSessionForGood(t *testing.T) {
	dir, passwords := t.TempDir(), users(t, "ada:wind")
	x := newRig(t, open(t, dir), gate.Rule{Passwords: passwords})
	one, two := x.signIn("ada", "wind", "/"), x.signIn("ada", "wind", "/")
	entered, ended := make(chan struct{}), make(chan struct{})
	slow := x.gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	}))
	long := &rig{t: t, handler: slow}
	go long.get("/events", withCookies(one...))
	<-entered
	resp := x.post(signOutPath, nil, withCookies(one...))
	x.want("signing out", resp, http.StatusOK)
	<-ended
	if c := resp.Cookies(); len(c) != 1 || c[0].MaxAge >= 0 || resp.Header.Get("Clear-Site-Data") == "" {
		t.Errorf("signing out leaves %v", c)
	}
	x.want("the session that was ended", x.get("/", withCookies(one...)), http.StatusUnauthorized)
	x.want("the other session", x.get("/", withCookies(two...)), http.StatusOK)
	again := newRig(t, open(t, dir), gate.Rule{Passwords: passwords})
	again.want("after a restart", again.get("/", withCookies(one...)), http.StatusUnauthorized)
	again.want("the other session after a restart", again.get("/", withCookies(two...)), http.StatusOK)
}

// A cookie ends when the rule changes for its user, and running requests with it.
func TestChangeOfARuleEndsItsSessions(t *testing.T) {
	store := open(t, "")
	before := lines(t, "ada:wind", "bob:rain")
	x := newRig(t, store, gate.Rule{Passwords: parse(t, before...)})
	ada, bob := withCookies(x.signIn("ada", "wind", "/")...), withCookies(x.signIn("bob", "rain", "/")...)
	entered, ended := make(chan struct{}), make(chan struct{})
	long := &rig{t: t, handler: x.gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	}))}
	go long.get("/events", ada)
	<-entered
	for what, rule := range map[string]gate.Rule{
		"another password":  {Passwords: parse(t, lines(t, "ada:other")[0], before[1])},
		"same, hashed anew": {Passwords: parse(t, lines(t, "ada:wind")[0], before[1])},
		"no such user":      {Passwords: parse(t, before[1])},
	} {
		y := newRig(t, store, rule)
		y.want("ada, "+what, y.get("/", ada), http.StatusUnauthorized)
		y.want("bob, "+what, y.get("/", bob), http.StatusOK)
	}
	<-ended
	y := newRig(t, store, gate.Rule{Links: true})
	y.want("no passwords any more", y.get("/", ada), http.StatusUnauthorized)
	y = newRig(t, store, gate.Rule{Paths: []string{"/x"}, Passwords: parse(t, before...)})
	y.want("another path", y.get("/x", ada), http.StatusUnauthorized)
}

func parse(t testing.TB, lines ...string) *gate.Passwords {
	t.Helper()
	p, err := gate.ParsePasswords([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A cookie ends after a time, and so does what runs by it.
func TestSessionsEndAfterATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
		cookies := x.signIn("ada", "wind", "/")
		if got := time.Duration(cookies[0].MaxAge) * time.Second; got > gate.SessionTime || got < gate.SessionTime-2*time.Second {
			t.Errorf("the browser keeps it for %v", got)
		}
		ended := make(chan time.Time, 1)
		long := &rig{t: t, handler: x.gate.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			ended <- time.Now()
		}))}
		start := time.Now()
		go long.get("/events", withCookies(cookies...))
		time.Sleep(gate.SessionTime - time.Hour)
		x.want("before its end", x.get("/", withCookies(cookies...)), http.StatusOK)
		if d := (<-ended).Sub(start); d > gate.SessionTime {
			t.Errorf("a request ran for %v", d)
		}
		time.Sleep(time.Second)
		x.want("behind its end", x.get("/", withCookies(cookies...)), http.StatusUnauthorized)
	})
}

// Nobody is sent to another host, or back to a page of the gate.
func TestNobodyIsSentElsewhere(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), Links: true})
	link, err := x.store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		"", "//evil.test", "///evil.test", "////evil.test", `/\evil.test`, `\\evil.test`, `/\/evil.test`, "https://evil.test", "http:evil.test", "https:/evil.test", "HTTPS://evil.test", "javascript:alert(1)", "data:text/html,x", "evil.test", "?x", "#x",
		"/\t/evil.test", "/\n/evil.test", "/\r\nX-Evil: 1", "\t//evil.test", " //evil.test", "/ /evil.test", "/\x00/evil.test", "/\u2028", "https://" + name + "@evil.test", "//" + name + "@evil.test", "//" + name,
		signOutPath, signInPath, "/.well-known/keystay/link/x", "/x/../.well-known/keystay/sign-out", "/%2ewell-known/keystay/sign-out", "/" + strings.Repeat("a", 5000), "/%zz",
	} {
		want := "/"
		if to == "/\u2028" {
			want = "/%E2%80%A8" // a path like any other
		}
		resp := x.post(signInPath, url.Values{"user": {"ada"}, "password": {"wind"}, "to": {to}})
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("signing in for %q: %s, to %q", to, resp.Status, got)
		}
		resp = x.get(link+"?to="+url.QueryEscape(to), person)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("a link for %q: %s, to %q", to, resp.Status, got)
		}
	}
	for _, to := range []string{"/", "/a/b?c=d&e=//f", "/a%2Fb", "/~ada/'()*", "/a?to=https://evil.test"} {
		resp := x.post(signInPath, url.Values{"user": {"ada"}, "password": {"wind"}, "to": {to}})
		if got := resp.Header.Get("Location"); got != to {
			t.Errorf("signing in for %q leads to %q", to, got)
		}
	}
}

// The page puts nothing of a request into its HTML but as text.
func TestPagesShowWhatVisitorsSendAsText(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), Links: true})
	const evil = `/"><script>alert(1)</script>`
	for _, resp := range []*http.Response{
		x.get(evil, person),
		x.get(signInPath+"?to="+url.QueryEscape(evil), person),
		x.post(signInPath, url.Values{"user": {evil}, "password": {"x"}, "to": {evil}}),
	} {
		if page := text(resp); strings.Contains(page, "<script") || !strings.Contains(page, "Sign in") {
			t.Errorf("%s: %s", resp.Status, page)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") {
			t.Errorf("Content-Security-Policy: %q", csp)
		}
	}
}

// Forms of other sites are refused: they would sign somebody in as another one, or out.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), Links: true})
	cookies := x.signIn("ada", "wind", "/")
	link, err := x.store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(time.Hour), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	foreign := []change{
		header("Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"),
		header("Origin", "https://other.relay.test", "Sec-Fetch-Site", "same-site"),
		header("Origin", "null"), header("Origin", "https://evil.test"), header("Origin", "https://"+name+".evil.test"), header("Origin", "https://"+name+":8443"),
		header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Site", "same-site"),
	}
	for i, c := range foreign {
		form := header("Content-Type", "application/x-www-form-urlencoded")
		resp := x.do("POST", signInPath, strings.NewReader("user=ada&password=wind"), form, c)
		if resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) > 0 {
			t.Errorf("%d: signing in: %s", i, resp.Status)
		}
		x.want("signing out", x.do("POST", signOutPath, nil, form, c, withCookies(cookies...)), http.StatusForbidden)
		x.want("using a link up", x.do("POST", link, nil, form, c), http.StatusForbidden)
	}
	x.want("the session lives", x.get("/", withCookies(cookies...)), http.StatusOK)
	x.want("the link waits", x.get(link, person), http.StatusOK)
}

// A request that is no form of the page signs nobody in.
func TestOnlyAFormSignsIn(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	const good = "user=ada&password=wind"
	for what, resp := range map[string]*http.Response{
		"in the query":        x.get(signInPath + "?" + good),
		"POST with a query":   x.do("POST", signInPath+"?"+good, nil),
		"as text":             x.do("POST", signInPath, strings.NewReader(good), header("Content-Type", "text/plain")),
		"as JSON":             x.do("POST", signInPath, strings.NewReader(`{"user":"ada","password":"wind"}`), header("Content-Type", "application/json")),
		"without a type":      x.do("POST", signInPath, strings.NewReader(good)),
		"huge":                x.do("POST", signInPath, strings.NewReader(good+"&x="+strings.Repeat("x", 1<<20)), header("Content-Type", "application/x-www-form-urlencoded")),
		"a huge password":     x.do("POST", signInPath, strings.NewReader("user=ada&password=wind"+strings.Repeat("x", 2000)), header("Content-Type", "application/x-www-form-urlencoded")),
		"as PUT":              x.do("PUT", signInPath, strings.NewReader(good), header("Content-Type", "application/x-www-form-urlencoded")),
		"as a GET overridden": x.do("GET", signInPath, bytes.NewReader([]byte(good)), header("Content-Type", "application/x-www-form-urlencoded", "X-HTTP-Method-Override", "POST")),
	} {
		if len(resp.Cookies()) > 0 || resp.StatusCode == http.StatusSeeOther {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
}

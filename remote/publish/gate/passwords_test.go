package gate_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hint"
	"keystay/remote/publish/gate"
)

// A person signs in on the page, gets to what it has asked for, and signs out.
func TestPersonSignsInAndOut(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	resp := x.get("/a?b=c", person)
	x.want("a stranger", resp, http.StatusUnauthorized)
	page := text(resp)
	for _, want := range []string{`value="/a?b=c"`, `autocomplete="username"`, `autocomplete="current-password"`, `<label for="user">`, `<label for="password">`, "autofocus", "prefers-color-scheme:dark", `method="post"`, name} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	if scheme, _, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " "); scheme != "Cookie" {
		t.Errorf("a person is asked for %q", scheme) // Basic would be the browser's own dialog
	}
	form := url.Values{"user": {"ada"}, "password": {"rain"}, "to": {"/a?b=c"}}
	resp = x.post(signInPath, form)
	x.want("a wrong password", resp, http.StatusUnauthorized)
	if page := text(resp); !strings.Contains(page, "Wrong name or password") || !strings.Contains(page, `value="ada"`) || strings.Contains(page, "rain") || !strings.Contains(page, `value="/a?b=c"`) {
		t.Errorf("behind a wrong password: %s", page)
	}
	form.Set("password", "wind")
	resp = x.post(signInPath, form)
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "/a?b=c" {
		t.Errorf("signing in: %s, to %q", resp.Status, to)
	}
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-keystay-", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="} {
		if !strings.Contains(set, want) {
			t.Errorf("no %q in %q", want, set)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Errorf("a domain in %q", set)
	}
	signed := withCookies(resp.Cookies()...)
	x.want("signed in", x.get("/a?b=c", person, signed), http.StatusOK)
	if to := x.get(signInPath+"?to=/x", person, signed).Header.Get("Location"); to != "/x" {
		t.Errorf("whoever is signed in gets from the page to %q", to)
	}
	x.want("the page to sign out on", x.get(signOutPath, person, signed), http.StatusOK)
	x.want("signing out", x.post(signOutPath, nil, signed), http.StatusOK)
	x.want("with the old cookie", x.get("/a?b=c", person, signed), http.StatusUnauthorized)
}

// Lines that are no bcrypt are refused with their number and what to do, and no secret
// is repeated.
func TestOtherPasswordsThanBcryptAreRefused(t *testing.T) {
	good := lines(t, "ada:wind")[0]
	for line, want := range map[string]string{
		"bob:secret-word": "no hash: a plain password",
		"bob:$apr1$abcdefgh$0123456789abcdefghijk/":  "a hash of MD5",
		"bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=":      "a hash of SHA-1",
		"bob:$5$salt$hash":                           "a hash of SHA-256 crypt",
		"bob:$6$salt$hash":                           "a hash of SHA-512 crypt",
		"bob:$y$j9T$salt$hash":                       "a hash of yescrypt",
		"bob:$argon2id$v=19$m=1$x$y":                 "a hash of Argon2",
		"bob:$2x$10$" + strings.Repeat("a", 53):      "an old kind of bcrypt",
		"bob:rqXexS6ZhobKA":                          "one of crypt",
		"bob:":                                       "is empty",
		"bob":                                        "no colon",
		":" + good[4:]:                               "the name of a user",
		"b\x01b:" + good[4:]:                         "the name of a user",
		"b\xffb:" + good[4:]:                         "the name of a user",
		strings.Repeat("b", 257) + ":" + good[4:]:    "the name of a user",
		"ada:" + good[4:]:                            "is there twice",
		"bob:" + good[4:60]:                          "is not whole",
		"bob:" + good[4:] + "x":                      "is not whole",
		"bob:" + good[4:40] + "!" + good[41:]:        "is not whole",
		"bob:$2y$31$" + good[11:]:                    "a cost of 31",
		"bob:$2y$16$" + good[11:]:                    "a cost of 16",
		"bob:$2y$03$" + good[11:]:                    "is not whole",
		"bob:$2y$xx$" + good[11:]:                    "is not whole",
		"bob:" + good[4:] + ":more":                  "is not whole",
		"bob:$2y$" + strings.Repeat("é", 28) + "abc": "is not whole",
	} {
		_, err := gate.ParsePasswords([]byte("# users\r\n\n  " + good + "  \r\n" + line + "\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "line 4: ") {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if strings.Contains(err.Error(), "secret-word") || strings.Contains(err.Error(), good[20:]) {
			t.Errorf("%v repeats a secret", err)
		}
		if strings.Contains(err.Error(), "hash") && !strings.Contains(strings.Join(hint.All(err), ""), "htpasswd -nB") {
			t.Errorf("%v has the hints %q", err, hint.All(err))
		}
	}
	for _, empty := range []string{"", "\n\n", "# nobody\n"} {
		if _, err := gate.ParsePasswords([]byte(empty)); err == nil {
			t.Errorf("%q has users", empty)
		}
	}
	for _, version := range []string{"$2a$", "$2b$", "$2y$"} {
		x := newRig(t, nil, gate.Rule{Passwords: parse(t, "ada:"+version+good[8:])})
		x.want(version, x.get("/", basic("ada", "wind")), http.StatusOK)
	}
}

// Long passwords count as far as bcrypt reads them, as with htpasswd.
func TestPasswordsCountAsBcryptReadsThem(t *testing.T) {
	long := strings.Repeat("0123456789", 10)
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:"+long[:72], "empty:", "über:grün")})
	for _, c := range []struct {
		user, password string
		status         int
	}{
		{"ada", long, 200}, {"ada", long[:72], 200}, {"ada", long[:71], 401},
		{"ada", "", 401}, {"empty", "", 401}, {"", "", 401}, {"nobody", "", 401}, {"ADA", long, 401}, {"ada ", long, 401}, {"ada\x00", long, 401},
		{"ada", long[:72] + "\x00", 401}, {"über", "grün", 200},
	} {
		x.want(fmt.Sprintf("%q with %d bytes", c.user, len(c.password)), x.get("/", basic(c.user, c.password), from("192.0.2."+fmt.Sprint(len(c.password))+":1")), c.status)
	}
}

// Programs sign in with Basic. What has signed them in does not get to the service, and
// what has not does.
func TestBasicForTheGateStaysThere(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/in"}, Passwords: users(t, "ada:wind")})
	got := func(resp *http.Response) string {
		t.Helper()
		x.want("a request", resp, http.StatusOK)
		r, _ := x.last()
		return r.Header.Get("Authorization")
	}
	if h := got(x.get("/in", basic("ada", "wind"))); h != "" {
		t.Errorf("the service got %q", h)
	}
	if h := got(x.get("/out", basic("ada", "wind"))); h != "" {
		t.Errorf("on a path that is open the service got %q", h)
	}
	signed := withCookies(x.signIn("ada", "wind", "/in")...)
	if h := got(x.get("/in", signed, basic("ada", "wind"))); h != "" {
		t.Errorf("with a cookie the service got %q", h)
	}
	for _, own := range []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("ada:its own")), "Basic " + base64.StdEncoding.EncodeToString([]byte("service:wind")), "Bearer abc", "Digest x", "Basic", "basic !"} {
		if h := got(x.get("/in", signed, header("Authorization", own))); h != own {
			t.Errorf("of %q the service got %q", own, h)
		}
	}
	x = newRig(t, nil, gate.Rule{Links: true, TrustedAddresses: ranges("192.0.2.0/24")})
	own := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:wind"))
	if h := got(x.get("/", header("Authorization", own))); h != own {
		t.Errorf("without passwords, of %q the service got %q", own, h)
	}
}

// Odd spellings of Basic sign nobody in.
func TestOddBasicSignsNobodyIn(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind", "eve:")})
	good := base64.StdEncoding.EncodeToString([]byte("ada:wind")) // YWRhOndpbmQ=
	for _, field := range []string{
		"", "Basic", "Basic ", good, "Basic\t" + good, "Basic" + good, "Digest " + good, "Basic " + strings.TrimRight(good, "="), "Basic " + good + "=", "Basic " + good + " x", "Basic " + good + ", Basic " + good,
		"Basic " + good[:4] + "\n" + good[4:], "Basic YWRhOndpbmR=", "Basic " + base64.URLEncoding.EncodeToString([]byte("ada:wi~?>")), "Basic " + base64.StdEncoding.EncodeToString([]byte("adawind")), "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:wind\xff")),
		"Basic " + base64.StdEncoding.EncodeToString([]byte("\xef\xbb\xbfada:wind")), "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:wind\x00")), "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:wind\n")), "Basic " + strings.Repeat("A", 1<<15), "Basic " + base64.StdEncoding.EncodeToString([]byte("eve:")), "Basic " + base64.StdEncoding.EncodeToString([]byte(":")),
	} {
		x.want(field, x.get("/", header("Authorization", field)), http.StatusUnauthorized)
	}
	x.want("two of them", x.get("/", header("Authorization", "Basic "+good, "Authorization", "Basic "+good)), http.StatusUnauthorized)
	x.want("any case and more spaces", x.get("/", header("Authorization", "bAsIc   "+good)), http.StatusOK)
}

// Too many wrong passwords from one address wait; whoever is signed in there does not,
// and neither does anybody else.
func TestGuessesAreLimitedForEachAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
		const at6, near6, far6 = "[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::2]:2", "[2001:db8:1:3::1]:1"
		for _, at := range []string{visitorAt, at6} {
			signed := withCookies(x.signIn("ada", "wind", "/", from(at))...)
			for i := range 10 {
				x.want("a guess", x.get("/", basic("ada", fmt.Sprint("rain", i, at)), from(at)), http.StatusUnauthorized)
			}
			resp := x.get("/", basic("ada", "rain"+at), from(at))
			x.want("one too many", resp, http.StatusTooManyRequests)
			if resp.Header.Get("Retry-After") != "6" || !strings.Contains(text(resp), "Too many tries") {
				t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
			}
			resp = x.post(signInPath, url.Values{"user": {"ada"}, "password": {"wind"}}, from(at))
			x.want("the right one, too, while it waits", resp, http.StatusTooManyRequests)
			if page := text(resp); !strings.Contains(page, "Wait 6 seconds") || !strings.Contains(page, `name="password"`) {
				t.Errorf("a person reads %s", page)
			}
			x.want("signed in", x.get("/", signed, from(at)), http.StatusOK)
			x.want("signed in, with a wrong password", x.get("/", signed, basic("ada", "rain"+at), from(at)), http.StatusOK)
		}
		x.want("the same household", x.get("/", basic("ada", "snow"), from(near6)), http.StatusTooManyRequests)
		x.want("another household", x.get("/", basic("ada", "hail"), from(far6)), http.StatusUnauthorized)
		time.Sleep(6 * time.Second)
		x.signIn("ada", "wind", "/")
		for range 30 { // right ones do not count
			x.signIn("ada", "wind", "/", from("192.0.2.99:1"))
		}
	})
}

// A hundred guesses at once are not more than those that are allowed, and few are
// looked at side by side.
func TestGuessesAtOnceAreNotMore(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	var mu sync.Mutex
	count := make(map[int]int)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			resp := x.get("/", basic("ada", fmt.Sprint("rain", i)))
			mu.Lock()
			defer mu.Unlock()
			count[resp.StatusCode]++
		})
	}
	wg.Wait()
	if count[401] > 11 || count[401]+count[429]+count[503] != 100 { // one more may come while it lasts
		t.Error(count)
	}
}

// A visitor who leaves does not hold a place, and whoever comes when too many wait is
// told to come back.
func TestTooManyAtOnceAreToldToComeBack(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	release := x.store.FillHashing()
	defer release()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	resp := x.get("/", basic("ada", "wind"), func(r *http.Request) { *r = *r.WithContext(left) })
	x.want("while all are busy", resp, http.StatusServiceUnavailable)
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Each answer is for its asker: a page for people, text or JSON for programs, a dialog of
// the browser for nobody.
func TestAskersGetWhatTheyCanUse(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	links := newRig(t, nil, gate.Rule{Links: true})
	for what, c := range map[string]struct {
		x      *rig
		method string
		change change
		kind   string
		scheme string
	}{
		"a person":                    {x, "GET", person, "text/html; charset=utf-8", "Cookie"},
		"a person without metadata":   {x, "GET", header("Accept", "text/html"), "text/html; charset=utf-8", "Cookie"},
		"a person's form":             {x, "POST", person, "text/html; charset=utf-8", "Cookie"},
		"curl":                        {x, "GET", header("Accept", "*/*"), "text/plain; charset=utf-8", "Basic"},
		"a program for JSON":          {x, "POST", header("Accept", "application/json"), "application/json", "Basic"},
		"fetch":                       {x, "GET", header("Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"), "text/plain; charset=utf-8", "Cookie"},
		"fetch for HTML":              {x, "GET", header("Accept", "text/html", "Sec-Fetch-Mode", "cors"), "text/plain; charset=utf-8", "Cookie"},
		"an image":                    {x, "GET", header("Accept", "image/*", "Sec-Fetch-Mode", "no-cors"), "text/plain; charset=utf-8", "Cookie"},
		"XMLHttpRequest":              {x, "GET", header("Accept", "text/html", "X-Requested-With", "XMLHttpRequest"), "text/plain; charset=utf-8", "Cookie"},
		"an event source":             {x, "GET", header("Accept", "text/event-stream", "Sec-Fetch-Mode", "cors"), "text/plain; charset=utf-8", "Cookie"},
		"a browser's WebSocket":       {x, "GET", header("Upgrade", "websocket", "Connection", "Upgrade", "Origin", "https://"+name), "text/plain; charset=utf-8", "Cookie"},
		"a program's WebSocket":       {x, "GET", header("Upgrade", "websocket", "Connection", "Upgrade"), "text/plain; charset=utf-8", "Basic"},
		"a preflight":                 {x, "OPTIONS", header("Origin", "https://app.test", "Access-Control-Request-Method", "PUT"), "text/plain; charset=utf-8", "Cookie"},
		"curl, without any passwords": {links, "GET", header("Accept", "*/*"), "text/plain; charset=utf-8", "Cookie"},
	} {
		resp := c.x.do(c.method, "/x", nil, c.change)
		scheme, _, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " ")
		if resp.StatusCode != 401 || resp.Header.Get("Content-Type") != c.kind || scheme != c.scheme || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, %s, %s, %s", what, resp.Status, resp.Header.Get("Content-Type"), scheme, resp.Header.Get("Cache-Control"))
		}
		if allow := resp.Header.Get("Access-Control-Allow-Origin"); allow != "" {
			t.Errorf("%s: other sites may read it: %q", what, allow)
		}
	}
}

// A sign-in counts for pages of the name itself, for links that somebody follows, and
// for programs; not for what pages of other names do, which on a relay are other
// people's and yet of the same site.
func TestPagesOfOtherNamesCannotUseASignIn(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	signed := x.signIn("ada", "wind", "/")
	for what, c := range map[string]struct {
		method string
		ok     bool
		change change
	}{
		"its own page":                      {"POST", true, header("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Origin", "https://"+name)},
		"its own page, without metadata":    {"POST", true, header("Origin", "https://"+name)},
		"its own WebSocket":                 {"GET", true, header("Origin", "https://"+name, "Upgrade", "websocket")},
		"its own WebSocket, called foreign": {"GET", true, header("Origin", "https://"+name, "Upgrade", "websocket", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "websocket")},
		"typed":                             {"GET", true, header("Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate")},
		"a link elsewhere":                  {"GET", true, header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")},
		"a program":                         {"POST", true, header()},
		"a neighbour's fetch":               {"GET", false, header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", "https://evil.relay.test")},
		"a neighbour's image":               {"GET", false, header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors")},
		"a neighbour's form":                {"POST", false, header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.relay.test")},
		"a neighbour's WebSocket":           {"GET", false, header("Origin", "https://evil.relay.test", "Upgrade", "websocket")},
		"a WebSocket that says navigate":    {"GET", false, header("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Upgrade", "websocket")},
		"an old browser's foreign form":     {"POST", false, header("Origin", "https://evil.test")},
		"a page without an origin":          {"POST", false, header("Origin", "null")},
		"another port":                      {"POST", false, header("Origin", "https://"+name+":8443")},
		"two origins":                       {"POST", false, header("Origin", "https://"+name, "Origin", "https://evil.test")},
		"two sites":                         {"GET", false, header("Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site")},
		"an unknown site":                   {"GET", false, header("Sec-Fetch-Site", "near")},
	} {
		for way, in := range map[string]change{"cookie": withCookies(signed...), "Basic": basic("ada", "wind")} {
			if resp := x.do(c.method, "/", nil, c.change, in); (resp.StatusCode == 200) != c.ok {
				t.Errorf("%s by %s: %s", what, way, resp.Status)
			}
		}
	}
}

// The cookies of the gate do not get to the service; others do, byte by byte.
func TestOtherCookiesPassUntouched(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	own := x.signIn("ada", "wind", "/")[0]
	ours := own.Name + "=" + own.Value
	for _, c := range []struct{ sent, got []string }{
		{[]string{ours}, nil},
		{[]string{ours + "; a=b"}, []string{"a=b"}},
		{[]string{"a=b; " + ours}, []string{"a=b"}},
		{[]string{"a=b;c ;  d = \"e;f\"; " + ours + ";  g=%20\xff;;h"}, []string{"a=b;c ;  d = \"e;f\";  g=%20\xff;;h"}},
		{[]string{"a=b", ours, "c=d;"}, []string{"a=b", "c=d;"}},
		{[]string{ours + "; __Host-keystay-oidc-x=y; __Host-keystay=z; __Host-other=1; x__Host-keystay=2"}, []string{"__Host-other=1; x__Host-keystay=2"}},
		{[]string{ours + "; ;"}, nil},
	} {
		x.want("a request", x.get("/", func(r *http.Request) { r.Header["Cookie"] = slices.Clone(c.sent) }), http.StatusOK)
		r, _ := x.last()
		if got := r.Header["Cookie"]; !slices.Equal(got, c.got) {
			t.Errorf("of %q the service got %q", c.sent, got)
		}
	}
}

// A service is told the user where that is asked for, and else nothing.
func TestUserIsToldWhereAskedFor(t *testing.T) {
	for _, told := range []bool{false, true} {
		x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind", "ü, %:x"), Header: told})
		for user, want := range map[string]string{"ada": "ada", "ü, %": "%C3%BC%2C %25"} {
			password := map[string]string{"ada": "wind", "ü, %": "x"}[user]
			for _, in := range []change{basic(user, password), withCookies(x.signIn(user, password, "/")...)} {
				x.want("a request", x.get("/", in, header("X-Forwarded-User", "root", "X_Forwarded_User", "root", "Remote-User", "root")), http.StatusOK)
				r, _ := x.last()
				if got := r.Header["X-Forwarded-User"]; told && !slices.Equal(got, []string{want}) || !told && got != nil {
					t.Errorf("told %v: %q", told, got)
				}
				for field, values := range r.Header {
					if slices.Contains(values, "root") {
						t.Errorf("the visitor's own word in %s", field)
					}
				}
			}
		}
	}
}

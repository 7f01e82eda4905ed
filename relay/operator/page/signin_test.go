package page_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A sign-in ends with its time, without use, with the password, and when its owner
// signs out.
func TestSignInEnds(t *testing.T) {
	lives := func(r *rig, as in) bool { return strings.Contains(text(r.get("/", as.cookie)), "Sign out") }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ada)
		as := r.signIn()
		for range 11 {
			time.Sleep(59 * time.Minute)
			if !lives(r, as) {
				t.Fatal("it has ended in use")
			}
		}
		time.Sleep(59 * time.Minute)
		lives(r, as)
		time.Sleep(59 * time.Minute)
		if lives(r, as) {
			t.Error("it lasts for ever")
		}
		as = r.signIn()
		for range 3 {
			time.Sleep(21 * time.Minute)
			r.get("/remotes", as.cookie, header("HX-Request", "true", "HX-Trigger", "list")) // the page by itself
		}
		if lives(r, as) {
			t.Error("a page that nobody uses keeps it")
		}
		as = r.signIn()
		r.users("eve" + ada[3:])
		if lives(r, as) {
			t.Error("whoever has no password any more is signed in")
		}
		r.users(ada)
		as = r.signIn()
		r.do("POST", "/sign-out", url.Values{"token": {"wrong"}}, as.cookie)
		if !lives(r, as) {
			t.Error("a foreign form has signed out")
		}
		r.do("POST", "/sign-out", url.Values{"token": {as.token}}, as.cookie)
		if lives(r, as) {
			t.Error("signed out, and signed in")
		}
	})
}

// A cookie is for this page alone.
func TestCookieStaysHere(t *testing.T) {
	r := newRig(t, ada)
	resp := r.do("POST", "/sign-in", url.Values{"user": {"ada"}, "password": {"wind"}})
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age="} {
		if !strings.Contains(set, want) {
			t.Errorf("no %q in %q", want, set)
		}
	}
	if strings.Contains(set, "; Secure") {
		t.Errorf("over plain HTTP a browser does not take %q", set)
	}
	resp = r.do("POST", "/sign-in", url.Values{"user": {"ada"}, "password": {"wind"}}, header("Origin", "https://ops.example"), func(r *http.Request) { r.Host = "ops.example" })
	if set := resp.Header.Get("Set-Cookie"); !strings.Contains(set, "; Secure") {
		t.Errorf("behind TLS, %q goes over plain HTTP too", set)
	}
	for to, want := range map[string]string{"": "/", "/bans?kind=name": "/bans?kind=name", "//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "/a\r\nb": "/"} {
		resp := r.do("POST", "/sign-in", url.Values{"user": {"ada"}, "password": {"wind"}, "to": {to}})
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("to %q: %q", to, got)
		}
	}
}

// Many sign-ins at once are no more than the bound: the one unused for longest goes.
func TestSignInsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ada)
		first := r.signIn()
		second := r.signIn()
		time.Sleep(time.Second)
		r.get("/", first.cookie)
		for range 63 {
			r.signIn()
		}
		if !strings.Contains(text(r.get("/", first.cookie)), "Sign out") || strings.Contains(text(r.get("/", second.cookie)), "Sign out") {
			t.Error("not the one that was unused for longest has gone")
		}
	})
}

// Guesses of one network are few, whatever the user, and another network is not held
// up by them.
func TestGuessesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ada)
		guess := func(password string, changes ...change) *http.Response {
			return r.do("POST", "/sign-in", url.Values{"user": {"ada"}, "password": {password}}, changes...)
		}
		for range 10 {
			if resp := guess("rain"); resp.StatusCode != 401 {
				t.Fatal(resp.Status)
			}
		}
		if resp := guess("wind"); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("the right one behind ten wrong ones: %s, %v", resp.Status, resp.Header)
		}
		if resp := guess("wind", elsewhere); resp.StatusCode != 303 {
			t.Errorf("from elsewhere: %s", resp.Status)
		}
		time.Sleep(7 * time.Second)
		if resp := guess("wind"); resp.StatusCode != 303 {
			t.Errorf("later: %s", resp.Status)
		}
		if body := text(guess("rain")); !strings.Contains(body, `role="alert"`) || strings.Contains(body, "rain") || !strings.Contains(body, `value="ada"`) {
			t.Errorf("behind a wrong password: %s", body)
		}
	})
}

package gate_test

import (
	"net/http"
	"net/url"
	"testing"

	"keystay/remote/publish/gate"
)

// A person signs in on the page, gets to what it has asked for, and signs out.
func TestPersonSignsInAndOut(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind")})
	resp := x.get("/a?b=c", person)
	x.want("a stranger", resp, http.StatusUnauthorized)
	form := url.Values{"user": {"ada"}, "password": {"wind"}, "to": {"/a?b=c"}}
	resp = x.post(signInPath, form)
	x.want("signing in", resp, http.StatusSeeOther)
	if to := resp.Header.Get("Location"); to != "/a?b=c" {
		t.Errorf("leads to %q", to)
	}
	signed := withCookies(resp.Cookies()...)
	x.want("signed in", x.get("/a?b=c", person, signed), http.StatusOK)
	resp = x.post(signOutPath, nil, signed)
	x.want("signing out", resp, http.StatusOK)
	x.want("with the old cookie", x.get("/a?b=c", person, signed), http.StatusUnauthorized)
}

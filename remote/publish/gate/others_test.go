package gate_test

import (
	"net/http"
	"testing"
	"time"

	"keystay/remote/publish/gate"
)

// newLink makes a link for an hour, or once.
func (x *rig) newLink(once bool, d time.Duration) string {
	x.t.Helper()
	link, err := x.store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(d), Once: once})
	if err != nil {
		x.t.Fatal(err)
	}
	return link
}

// Whoever has a link may sign in and out by it as often as it likes: the visitors of
// other links stay.
func TestSigningOutOftenEndsNobodyElsesSessions(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Links: true, Passwords: users(t, "ada:wind")})
	resp := x.post(x.newLink(true, time.Hour), nil)
	others := resp.Cookies()
	x.want("the visitor of a one-time link", x.get("/", withCookies(others...)), http.StatusOK)
	ada := x.signIn("ada", "wind", "/")
	link := x.newLink(false, time.Hour)
	for range 200 {
		mine := x.get(link, person).Cookies()
		x.want("signing out", x.post(signOutPath, nil, withCookies(mine...)), http.StatusOK)
		x.want("behind that", x.get("/", withCookies(mine...)), http.StatusUnauthorized)
	}
	x.want("the visitor of a one-time link, later", x.get("/", withCookies(others...)), http.StatusOK)
	x.want("a user with a password, later", x.get("/", withCookies(ada...)), http.StatusOK)
}

// A page of another site can lead a browser to a link. Who has signed in by name stays
// that user.
func TestALinkTakesNobodyTheirName(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Links: true, Passwords: users(t, "ada:wind"), Header: true})
	ada := x.signIn("ada", "wind", "/")
	for what, link := range map[string]string{"a long one": x.newLink(false, gate.MaxLink), "a short one": x.newLink(false, time.Minute)} {
		resp := x.get(link, person, fromElsewhere, withCookies(ada...))
		x.want(what, resp, http.StatusSeeOther)
		if len(resp.Cookies()) > 0 {
			t.Errorf("%s: the browser gets another session", what)
		}
	}
	once := x.newLink(true, gate.MaxLink)
	x.want("a one-time link", x.get(once, person, fromElsewhere, withCookies(ada...)), http.StatusSeeOther)
	x.want("it is not used up", x.post(once, nil), http.StatusSeeOther)
	// Of two links the longer one counts.
	short := x.get(x.newLink(false, time.Minute), person).Cookies()
	if resp := x.get(x.newLink(false, time.Hour), person, withCookies(short...)); len(resp.Cookies()) != 1 {
		t.Error("a longer link does not count")
	}
}

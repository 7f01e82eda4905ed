package gate_test

import (
	"crypto/rand"
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

// Pages of other sites have no more rights with a browser at a trusted address than with
// one that has signed in: they could send forms, open WebSockets and read across from
// the network that is trusted. Programs there, own pages and links have what they had.
func TestATrustedAddressCountsForOwnPagesAlone(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), TrustedAddresses: ranges("192.0.2.0/24")})
	site := func(s, mode string, more ...string) change {
		return header(append([]string{"Sec-Fetch-Site", s, "Sec-Fetch-Mode", mode}, more...)...)
	}
	for what, c := range map[string]struct {
		method string
		by     change
		status int
	}{
		"a form of another site":      {"POST", site("cross-site", "navigate", "Origin", "https://evil.test"), 401},
		"a form of another name":      {"POST", site("same-site", "navigate", "Origin", "https://other.relay.test"), 401},
		"a form, older browser":       {"POST", header("Origin", "https://evil.test"), 401},
		"fetch of another site":       {"GET", site("cross-site", "cors", "Origin", "https://evil.test"), 401},
		"an image of another name":    {"GET", site("same-site", "no-cors"), 401},
		"a WebSocket of another site": {"GET", header("Upgrade", "websocket", "Connection", "Upgrade", "Origin", "https://evil.test"), 401},
		"a link on another site":      {"GET", site("cross-site", "navigate"), 200},
		"an address that was typed":   {"GET", site("none", "navigate"), 200},
		"fetch of an own page":        {"POST", site("same-origin", "cors", "Origin", "https://"+name), 200},
		"an own WebSocket":            {"GET", header("Upgrade", "websocket", "Connection", "Upgrade", "Origin", "https://"+name), 200},
		"a program":                   {"DELETE", header(), 200},
	} {
		x.want(what, x.do(c.method, "/x", nil, c.by), c.status)
	}
}

// Passwords of the gate that programs send to paths without it are dropped there. That
// must not tell right ones from wrong ones faster than the gate does: a service answers
// differently with Authorization and without.
func TestOpenPathsTellNoPasswords(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	x.want("a program", x.get("/admin", basic("ada", "wind"), from("198.51.100.1:1")), http.StatusOK)
	handedOn := func(changes ...change) bool {
		t.Helper()
		x.want("an open path", x.get("/open", changes...), http.StatusOK)
		r, _ := x.last()
		return r.Header.Get("Authorization") != ""
	}
	if handedOn(basic("ada", "wind")) {
		t.Error("the gate's password is handed on")
	}
	for range 100 { // what the service knows ada by
		if !handedOn(basic("ada", "the service's"), from("198.51.100.2:1")) || !handedOn(basic("eve", rand.Text()), from("198.51.100.2:1")) {
			t.Fatal("a password of the service is not handed on")
		}
	}
	tried := 0
	for range 100 {
		if handedOn(basic("ada", rand.Text()), from("198.51.100.3:1")) {
			tried++
		}
	}
	if tried < 5 || tried > 50 { // ten at once, and one each six seconds
		t.Errorf("%d of 100 passwords could be told from the right one", tried)
	}
	x.want("guessing on", x.get("/admin", basic("ada", "x"), from("198.51.100.3:1")), http.StatusTooManyRequests)
	y := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	y.get("/open", basic("ada", "wind"))
	y.want("the right password, sent to an open path first", y.get("/admin", basic("ada", "wind")), http.StatusOK)
}

package gate_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"keystay/internal/testnet"
	"keystay/remote/publish/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

const name = "xyz.relay.test"

// visitorAt is where visitors of tests come from.
const visitorAt = "192.0.2.7:40000"

// users returns passwords of user:password pairs.
func users(t testing.TB, pairs ...string) *gate.Passwords {
	t.Helper()
	p, err := gate.ParsePasswords([]byte(strings.Join(lines(t, pairs...), "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lines(t testing.TB, pairs ...string) (all []string) {
	t.Helper()
	for _, pair := range pairs {
		user, password, _ := strings.Cut(pair, ":")
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, user+":"+string(hash))
	}
	return all
}

func open(t testing.TB, dir string) *gate.Store {
	t.Helper()
	s, err := gate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A rig is a gate with a service behind it that says what it got.
type rig struct {
	t       testing.TB
	store   *gate.Store
	gate    *gate.Gate
	handler http.Handler

	mu  sync.Mutex
	got []*http.Request
}

func newRig(t testing.TB, store *gate.Store, rules ...gate.Rule) *rig {
	t.Helper()
	if store == nil {
		store = open(t, "")
	}
	x := &rig{t: t, store: store}
	g, err := gate.New(gate.Config{Name: name, Store: store, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	x.gate = g
	x.handler = g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		x.got = append(x.got, r)
		x.mu.Unlock()
		fmt.Fprint(w, "inside")
	}))
	return x
}

// last returns the last request that the service got, and how many it got.
func (x *rig) last() (*http.Request, int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.got) == 0 {
		return nil, 0
	}
	return x.got[len(x.got)-1], len(x.got)
}

// A change is done to a request of a test before it is sent.
type change func(*http.Request)

func header(pairs ...string) change {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

func from(address string) change { return func(r *http.Request) { r.RemoteAddr = address } }

func basic(user, password string) change {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

// person makes a request look like one of a person's browser for a page.
func person(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	if r.Header.Get("Sec-Fetch-Site") == "" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
}

// fromElsewhere makes it one that a link on another site leads to.
func fromElsewhere(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }

func withCookies(all ...*http.Cookie) change {
	return func(r *http.Request) {
		for _, c := range all {
			if c.MaxAge >= 0 {
				r.AddCookie(c)
			}
		}
	}
}

// do sends a request whose target is as given.
func (x *rig) do(method, target string, body io.Reader, changes ...change) *http.Response {
	x.t.Helper()
	r := httptest.NewRequest(method, "/", body)
	r.RequestURI, r.Host, r.RemoteAddr = target, name, visitorAt
	if u, err := url.ParseRequestURI(target); err == nil {
		r.URL = u
	}
	for _, c := range changes {
		c(r)
	}
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, r)
	return w.Result()
}

func (x *rig) get(target string, changes ...change) *http.Response {
	x.t.Helper()
	return x.do("GET", target, nil, changes...)
}

// post sends a form.
func (x *rig) post(target string, form url.Values, changes ...change) *http.Response {
	x.t.Helper()
	changes = append([]change{person, header("Content-Type", "application/x-www-form-urlencoded", "Origin", "https://"+name)}, changes...)
	return x.do("POST", target, strings.NewReader(form.Encode()), changes...)
}

// signIn signs a user in and returns its cookies.
func (x *rig) signIn(user, password, to string, changes ...change) []*http.Cookie {
	x.t.Helper()
	resp := x.post(signInPath, url.Values{"user": {user}, "password": {password}, "to": {to}}, changes...)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) == 0 {
		x.t.Fatalf("signing in: %s with %d cookies: %s", resp.Status, len(resp.Cookies()), text(resp))
	}
	return resp.Cookies()
}

func (x *rig) want(what string, resp *http.Response, status int) {
	x.t.Helper()
	if resp.StatusCode != status {
		x.t.Errorf("%s: %s, want %d: %s", what, resp.Status, status, text(resp))
	}
}

func text(resp *http.Response) string {
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

const (
	signInPath  = "/.well-known/keystay/sign-in"
	signOutPath = "/.well-known/keystay/sign-out"
)

func ranges(all ...string) (p []netip.Prefix) {
	for _, s := range all {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

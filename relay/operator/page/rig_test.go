package page_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/signin"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/relay/operator"
	"keystay/relay/operator/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	label = "a4lv7c5gqsmz4vkjiqsts232p5eloqr6"
	// ada's password is wind.
	ada = "ada:$2a$04$rrcifw2U0h2mNqmFohkE1.Kx.xlsfMZRJ8y299i0evZkTZWthRpOW\n"
)

// A fakeRelay has as many remotes as it is told, and notes what is cut.
type fakeRelay struct {
	remotes int

	mu       sync.Mutex
	cuts     []relay.Cut
	stopping bool
}

func (f *fakeRelay) Status() relay.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return relay.Status{Links: 2 * f.remotes, Names: f.remotes, Since: time.Unix(1e9, 0), Stopping: f.stopping, LimitsMet: map[string]int64{"address_rate": 7}}
}

func (f *fakeRelay) Remotes(w relay.Which, cursor string, n int) (list []relay.Remote, next string, err error) {
	at := 0
	fmt.Sscanf(cursor, "%d", &at)
	for ; at < f.remotes; at++ {
		name := fmt.Sprintf("n%d.relay.test", at)
		if !strings.Contains(name, w.Contains) {
			continue
		}
		if len(list) == n {
			return list, fmt.Sprint(at), nil
		}
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(at)}), uint16(at))
		list = append(list, relay.Remote{Identity: label, Run: uint64(at), Agent: "<b>agent\x1b[2J", Names: []string{name},
			Links: []relay.RemoteLink{{Address: addr, Since: time.Unix(1e9, 0), RTT: 1500 * time.Microsecond, Streams: 1}}})
	}
	return list, "", nil
}

func (f *fakeRelay) Cut(c relay.Cut) relay.Severed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = append(f.cuts, c)
	return relay.Severed{Links: 2, Visitors: 1}
}

// A rig is a page over a real record of names.
type rig struct {
	t     testing.TB
	relay *fakeRelay
	api   *operator.Server
	page  *page.Page
	names *names.Names
}

func newRig(t testing.TB, users string) *rig {
	t.Helper()
	dir := t.TempDir()
	grants, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { grants.Close() })
	r := &rig{t: t, relay: &fakeRelay{remotes: 3}, names: &names.Names{Grants: grants}}
	r.names.Begin("relay.test")
	audit := operator.OpenAudit(dir, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { audit.Close() })
	r.api = &operator.Server{Relay: r.relay, Domain: "relay.test", Names: r.names, Audit: audit,
		About: func(st *operator.Status) { st.Domain, st.Ready = "relay.test", true },
		Drain: func() time.Time { return time.Unix(2e9, 0) }}
	r.page = &page.Page{API: r.api, Hosts: []string{"ops.example"}}
	r.page.SetSampleEvery(50 * time.Millisecond)
	if users != "" {
		r.users(users)
	}
	return r
}

func (r *rig) users(text string) {
	r.t.Helper()
	u, err := signin.Parse([]byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	r.page.SetUsers(u)
}

// A change is something about a request.
type change func(*http.Request)

func header(pairs ...string) change {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Set(pairs[i], pairs[i+1])
		}
	}
}

// from is a request that comes from an address to one of this machine.
func from(remote, local string) change {
	return func(r *http.Request) {
		r.RemoteAddr = remote
		addr, err := net.ResolveTCPAddr("tcp", local)
		if err != nil {
			panic(err)
		}
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
	}
}

var elsewhere = from("192.0.2.7:999", "192.0.2.1:9440")

func (r *rig) do(method, target string, form url.Values, changes ...change) *http.Response {
	r.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	req.Host = "localhost:9440"
	from("127.0.0.1:999", "127.0.0.1:9440")(req)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		req.Header.Set("Origin", "http://localhost:9440")
	}
	for _, c := range changes {
		c(req)
	}
	w := httptest.NewRecorder()
	r.page.ServeHTTP(w, req)
	return w.Result()
}

func (r *rig) get(target string, changes ...change) *http.Response {
	r.t.Helper()
	return r.do("GET", target, nil, changes...)
}

func text(resp *http.Response) string {
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// in is what a browser sends that is signed in.
type in struct {
	cookie change
	token  string
}

var tokenField = regexp.MustCompile(`name="token" value="([A-Z2-7]+)"`)

// signIn signs ada in.
func (r *rig) signIn(changes ...change) in {
	r.t.Helper()
	resp := r.do("POST", "/sign-in", url.Values{"user": {"ada"}, "password": {"wind"}, "to": {"/names?q=x"}}, changes...)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/names?q=x" || len(resp.Cookies()) != 1 {
		r.t.Fatalf("signing in: %s, %v", resp.Status, resp.Header)
	}
	c := resp.Cookies()[0]
	cookie := func(req *http.Request) { req.Header.Set("Cookie", c.Name+"="+c.Value) }
	m := tokenField.FindStringSubmatch(text(r.get("/", append(changes, cookie)...)))
	if m == nil {
		r.t.Fatal("the page has no form to sign out with")
	}
	return in{cookie, m[1]}
}

// pull sends the form of a lever.
func (r *rig) pull(as in, lever string, pairs ...string) (*http.Response, string) {
	r.t.Helper()
	form := url.Values{"token": {as.token}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp := r.do("POST", "/lever/"+lever, form, as.cookie)
	return resp, text(resp)
}

// serve serves the page on a real connection, with its samples being taken.
func (r *rig) serve() (addr string, stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.page.Run(ctx) })
	srv := httptest.NewServer(r.page)
	return strings.TrimPrefix(srv.URL, "http://"), func() {
		cancel()
		srv.Close()
		wg.Wait()
	}
}

// event reads the name and the data of one event.
func event(t *testing.T, b *bufio.Reader) (name, data string) {
	t.Helper()
	for {
		line, err := b.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return name, data
		}
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			data = v
		}
	}
}

//go:build linux || darwin || freebsd

package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/testnet"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/relay/operator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

// A fakeRelay has as many remotes as it is told, and notes what is cut.
type fakeRelay struct {
	remotes int
	severed relay.Severed

	mu   sync.Mutex
	cuts []relay.Cut
}

func (f *fakeRelay) Status() relay.Status {
	return relay.Status{Links: 2 * f.remotes, Names: f.remotes, Since: time.Unix(1e9, 0)}
}

func (f *fakeRelay) Remotes(w relay.Which, cursor string, n int) (list []relay.Remote, next string, err error) {
	at := 0
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "%d", &at); err != nil {
			return nil, "", errors.New("no cursor")
		}
	}
	for ; at < f.remotes; at++ {
		if len(list) == n {
			return list, fmt.Sprint(at), nil
		}
		name := fmt.Sprintf("n%d.relay.test", at)
		if w.Name != "" && w.Name != name {
			continue
		}
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(at)}), uint16(at))
		list = append(list, relay.Remote{Identity: label, Run: uint64(at), Names: []string{name},
			Links: []relay.RemoteLink{{Address: addr, Since: time.Unix(1e9, 0)}, {Address: addr, RTT: 1500 * time.Microsecond}}})
	}
	return list, "", nil
}

func (f *fakeRelay) Cut(c relay.Cut) relay.Severed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = append(f.cuts, c)
	return f.severed
}

const label = "a4lv7c5gqsmz4vkjiqsts232p5eloqr6"

// A rig is an API on a socket, with a real record of names.
type rig struct {
	*operator.Client
	t     *testing.T
	relay *fakeRelay
	names *names.Names
	srv   *operator.Server
	dir   string
	path  string
}

func newRig(t *testing.T, set func(*operator.Server)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	grants, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { grants.Close() })
	r := &rig{t: t, dir: dir, path: operator.SocketPath(dir), relay: &fakeRelay{remotes: 3, severed: relay.Severed{Links: 2, Names: 1, Visitors: 3}},
		names: &names.Names{Grants: grants}}
	r.names.Begin("relay.test")
	audit := operator.OpenAudit(dir, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { audit.Close() })
	r.srv = &operator.Server{
		Relay: r.relay, Domain: "relay.test", Names: r.names, Audit: audit,
		About: func(st *operator.Status) { st.Domain = "relay.test" },
		Config: func() operator.Config {
			return operator.Config{Settings: []operator.Setting{{Key: "domain", Value: "relay.test", From: "--domain"}}}
		},
		Drain: func() time.Time { return time.Unix(2e9, 0) },
		Copy:  func() (string, int64, error) { return "/state/names.db.copy", 32768, nil },
	}
	if set != nil {
		set(r.srv)
	}
	ln, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(ln) }()
	t.Cleanup(func() {
		r.srv.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	r.Client = operator.NewClient(r.path)
	return r
}

// ask sends a request as it stands, and returns the status and the body.
func (r *rig) ask(method, path, body string) (int, string) {
	r.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.path)
	}}}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://relay"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json" || !json.Valid(b) {
		r.t.Errorf("%s %s answers %s: %.100s", method, path, ct, b)
	}
	return res.StatusCode, string(b)
}

// Each route does what it says, and each mistake in a request has its status and says
// what is wrong.
func TestEachRouteAnswers(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"GET", "/v1/status", "", 200, `"state":"serving"`},
		{"GET", "/v1/status?x=1", "", 400, `unknown parameter`},
		{"GET", "/v1/remotes", "", 200, `"remotes":[{"identity":"` + label + `","run":0,"agent":"","names":["n0.relay.test"],"links":[{"address":"192.0.2.0:0","since":"2001-09-09T`},
		{"GET", "/v1/remotes?limit=2", "", 200, `"next":"2"`},
		{"GET", "/v1/remotes?limit=2&after=2", "", 200, `"run":2`},
		{"GET", "/v1/remotes?name=none.relay.test", "", 200, `{"remotes":[]}`},
		{"GET", "/v1/remotes?limit=0", "", 400, `is not a number from 1 to 10000`},
		{"GET", "/v1/remotes?limit=10001", "", 400, `is not a number`},
		{"GET", "/v1/remotes?after=x", "", 400, `after: `},
		{"GET", "/v1/remotes?limit=1&limit=2", "", 400, `given 2 times`},
		{"POST", "/v1/remotes/kick", `{"identity":"` + label + `","reason":"x"}`, 200, `{"links":2,"names":1,"visitors":3}`},
		{"POST", "/v1/remotes/kick", `{"name":"A.relay.test."}`, 200, `"links":2`},
		{"POST", "/v1/remotes/kick", `{"address":"192.0.2.1:7"}`, 200, `"links":2`},
		{"POST", "/v1/remotes/kick", `{}`, 400, `one of identity, name and address`},
		{"POST", "/v1/remotes/kick", ``, 400, `one of identity, name and address`},
		{"POST", "/v1/remotes/kick", `{"identity":"x"}`, 400, `no identity`},
		{"POST", "/v1/remotes/kick", `{"address":"192.0.2.1"}`, 400, `not that of a link`},
		{"POST", "/v1/remotes/kick", `{"name":"a..b"}`, 400, `no host name`},
		{"POST", "/v1/remotes/kick", `{"nmae":"a"}`, 400, `unknown field`},
		{"POST", "/v1/remotes/kick", `{"name":"a"} {}`, 400, `more than one JSON value`},
		{"POST", "/v1/remotes/kick", `[`, 400, `not the JSON`},
		{"POST", "/v1/remotes/kick", `{"name":"a.relay.test","reason":"a\nb"}`, 400, `one line`},
		{"POST", "/v1/remotes/kick", `{"name":"a.relay.test","reason":"` + strings.Repeat("x", 501) + `"}`, 400, `longer than 500`},
		{"POST", "/v1/remotes/kick", `{"name":"` + strings.Repeat("x", 70_000) + `"}`, 413, `longer than 65536`},
		{"GET", "/v1/names", "", 200, `{"names":[]}`},
		{"GET", "/v1/names/none.relay.test", "", 404, `given to nobody`},
		{"GET", "/v1/names/n1.relay.test", "", 200, `"remotes":[{"identity"`},
		{"GET", "/v1/names/a..b", "", 400, `no host name`},
		{"POST", "/v1/names/release", `{"name":"none.relay.test"}`, 404, `there is none`},
		{"POST", "/v1/names/reserve", `{"pattern":"shop*","note":"ours"}`, 200, `"pattern":"shop*"`},
		{"POST", "/v1/names/reserve", `{"pattern":"shop.example"}`, 400, `not below`},
		{"GET", "/v1/names/reserved", "", 200, `"note":"ours"`},
		{"POST", "/v1/names/unreserve", `{"pattern":"shop*"}`, 200, `"pattern":"shop*"`},
		{"POST", "/v1/names/unreserve", `{"pattern":"shop*"}`, 404, `there is none`},
		{"POST", "/v1/names/ban", `{"of":"Bad.relay.test","reason":"phishing"}`, 200, `"ban":{"kind":"name","of":"bad.relay.test","reason":"phishing","since":"`},
		{"GET", "/v1/names/bad.relay.test", "", 200, `"ban":{"kind":"name"`},
		{"GET", "/v1/names/banned", "", 200, `"of":"bad.relay.test"`},
		{"POST", "/v1/names/ban", `{"of":"Relay.test:20022"}`, 200, `"ban":{"kind":"name","of":"relay.test:20022"`},
		{"GET", "/v1/names/relay.test:20022", "", 200, `"ban":{"kind":"name"`},
		{"POST", "/v1/names/unban", `{"of":"relay.test:20022"}`, 200, `"of":"relay.test:20022"`},
		{"POST", "/v1/names/release", `{"name":"relay.test:20022"}`, 404, `there is none`},
		{"POST", "/v1/names/release", `{"name":"relay.test:022"}`, 400, `no host name`},
		{"POST", "/v1/names/unban", `{"of":"bad.relay.test"}`, 200, `"of":"bad.relay.test"`},
		{"POST", "/v1/names/unban", `{"of":"bad.relay.test"}`, 404, `there is none`},
		{"POST", "/v1/identities/ban", `{"of":"` + label + `","for":"30d"}`, 200, `"until":"`},
		{"POST", "/v1/identities/ban", `{"of":"` + label + `","for":"-1h"}`, 400, `is not how long`},
		{"POST", "/v1/identities/ban", `{"of":"` + label + `","for":"99999d"}`, 400, `is not how long`},
		{"POST", "/v1/identities/ban", `{"of":"x"}`, 400, `no identity`},
		{"GET", "/v1/identities", "", 200, `"of":"` + label},
		{"POST", "/v1/identities/unban", `{"of":"` + label + `"}`, 200, label},
		{"POST", "/v1/addresses/ban", `{"of":"192.0.2.7"}`, 200, `"of":"192.0.2.7/32"`},
		{"POST", "/v1/addresses/ban", `{"of":"192.0.3.0/24"}`, 200, `"of":"192.0.3.0/24"`},
		{"POST", "/v1/addresses/ban", `{"of":"here"}`, 400, `no address range`},
		{"GET", "/v1/addresses?limit=1", "", 200, `"next":"192.0.2.7/32"`},
		{"GET", "/v1/addresses?limit=1&after=192.0.2.7/32", "", 200, `192.0.3.0/24`},
		{"POST", "/v1/addresses/unban", `{"of":"192.0.2.7"}`, 200, `192.0.2.7/32`},
		{"POST", "/v1/tokens/create", `{"names":["*.relay.test"],"uses":1,"expires":"30d","bind":true,"note":"n"}`, 200, `"secret":"keystay-`},
		{"POST", "/v1/tokens/create", `{"names":[]}`, 400, `1 to 100 names`},
		{"POST", "/v1/tokens/create", `{"names":["relay.test"]}`, 400, `own name`},
		{"POST", "/v1/tokens/create", `{"names":["a.example"]}`, 400, `not below relay.test`},
		{"POST", "/v1/tokens/create", `{"names":["a.relay.test"],"uses":-1}`, 400, `uses`},
		{"GET", "/v1/tokens", "", 200, `"bind":true`},
		{"POST", "/v1/tokens/revoke", `{"id":"0123456789abcdef"}`, 404, `there is none`},
		{"POST", "/v1/tokens/revoke", `{"id":"x"}`, 400, `no id of a token`},
		{"POST", "/v1/names/copy", "{}", 200, `{"file":"/state/names.db.copy","bytes":32768}`},
		{"POST", "/v1/names/copy", `{"file":"/etc/passwd"}`, 400, `unknown field`},
		{"POST", "/v1/drain", `{"reason":"x"}`, 200, `"until":"2033-05-18T`},
		{"GET", "/v1/config", "", 200, `{"settings":[{"key":"domain","value":"relay.test","from":"--domain"}]}`},
		{"GET", "/v1/audit?limit=1", "", 200, `"what":"drain"`},
		{"GET", "/v1/audit?since=yesterday", "", 400, `no time`},
		{"GET", "/v1/nothing", "", 404, `the API has no`},
		{"GET", "/", "", 404, `the API has no`},
		{"DELETE", "/v1/status", "", 405, `with GET`},
		{"GET", "/v1/names/ban", "", 400, `is no whole name`}, // it is a name here
	} {
		status, body := r.ask(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %.80s\n%d %.300s\nwant %d and %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
		if status >= 400 && !strings.HasPrefix(body, `{"error":"`) {
			t.Errorf("%s %s answers %d without an error: %s", c.method, c.path, status, body)
		}
	}
}

// What is banned is cut, with the reason; a kick leaves the way back open.
func TestLeversCutWhatTheyName(t *testing.T) {
	r := newRig(t, nil)
	for path, body := range map[string]string{
		"/v1/remotes/kick":   `{"name":"a.relay.test","reason":"why"}`,
		"/v1/names/ban":      `{"of":"a.relay.test","reason":"why"}`,
		"/v1/identities/ban": `{"of":"` + label + `","reason":"why"}`,
		"/v1/addresses/ban":  `{"of":"192.0.2.0/24","reason":"why"}`,
	} {
		r.relay.cuts = nil
		if status, answer := r.ask("POST", path, body); status != 200 {
			t.Fatal(answer)
		}
		if len(r.relay.cuts) != 1 {
			t.Fatalf("%s: %+v", path, r.relay.cuts)
		}
		c := r.relay.cuts[0]
		code := names.DeniedBanned
		if path == "/v1/remotes/kick" {
			code = 0
		}
		if !strings.HasSuffix(c.Why.Text, ": why") || c.Why.Code != code {
			t.Errorf("%s: %+v", path, c.Why)
		}
		if c.Name == "" && c.Identity != label && c.Addresses != netip.MustParsePrefix("192.0.2.0/24") {
			t.Errorf("%s: %+v", path, c)
		}
	}
}

// Nobody but the user of the relay and root is answered.
func TestForeignUsersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		uid  int
		err  error
		want int
	}{
		"own": {os.Geteuid(), nil, 200}, "root": {0, nil, 200}, "foreign": {os.Geteuid() + 1, nil, 403},
		"unknown": {0, errors.New("no way to tell"), 403}, "none": {-1, nil, 403},
	} {
		r := newRig(t, func(s *operator.Server) { s.PeerUID = func(net.Conn) (int, error) { return c.uid, c.err } })
		for _, path := range []string{"/v1/status", "/v1/nothing"} {
			if status, body := r.ask("GET", path, ""); (status == 403) != (c.want == 403) {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
		if _, body := r.ask("POST", "/v1/drain", "{}"); strings.Contains(body, "until") != (c.want == 200) {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// Every page of 10,000 remotes comes, each remote once.
func TestTenThousandRemotesAreListed(t *testing.T) {
	r := newRig(t, nil)
	r.relay.remotes = 10_000
	seen := make(map[uint64]bool)
	q := map[string][]string{"limit": {"3000"}}
	for pages := 1; ; pages++ {
		var page operator.Remotes
		if err := r.Get(t.Context(), "/v1/remotes", q, &page); err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Remotes {
			seen[one.Run] = true
		}
		if page.Next == "" {
			if len(seen) != 10_000 || pages != 4 {
				t.Errorf("%d remotes in %d pages", len(seen), pages)
			}
			return
		}
		q["after"] = []string{page.Next}
	}
}

// While a new process takes over the client asks again, and gets its answer in the
// end.
func TestClientWaitsForATakeover(t *testing.T) {
	r := newRig(t, nil)
	r.srv.Pause()
	asked := make(chan error, 1)
	go func() { asked <- r.Get(t.Context(), "/v1/status", nil, new(operator.Status)) }()
	if status, body := r.ask("GET", "/v1/status", ""); status != 503 || !strings.Contains(body, "taking over") {
		t.Errorf("%d %s", status, body)
	}
	r.srv.Resume()
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// The client returns what the API says was wrong, with its hints; and tells where
// there is nobody.
func TestClientReturnsErrors(t *testing.T) {
	r := newRig(t, nil)
	err := r.Do(t.Context(), "POST", "/v1/remotes/kick", operator.Kick{Identity: "x"}, nil)
	var e *operator.Error
	if !errors.As(err, &e) || e.Status != 400 || len(e.Hints()) != 1 {
		t.Errorf("%v", err)
	}
	nobody := operator.NewClient(filepath.Join(r.dir, "none.sock"))
	if err := nobody.Get(t.Context(), "/v1/status", nil, nil); !errors.Is(err, os.ErrNotExist) || errors.As(err, &e) && e.Status == 0 {
		t.Errorf("%v", err)
	}
}

// Each lever that changes something is in the audit log, done or not, and no secret.
func TestLeversAreInTheAuditLog(t *testing.T) {
	r := newRig(t, nil)
	_, created := r.ask("POST", "/v1/tokens/create", `{"names":["a.relay.test"],"note":"n"}`)
	r.ask("POST", "/v1/names/unban", `{"of":"a.relay.test","reason":"again"}`)
	r.ask("POST", "/v1/names/ban", `{"of":"a.relay.test","reason":"phishing"}`)
	var page operator.AuditPage
	if err := r.Get(t.Context(), "/v1/audit", nil, &page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Entries {
		if !strings.HasPrefix(e.Who, "user ") || !strings.HasSuffix(e.Who, fmt.Sprintf("(%d)", os.Geteuid())) || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
		got = append(got, e.What+" "+e.Result+" "+e.Reason)
	}
	want := []string{"token.create done n", "names.unban a ban of a.relay.test: there is none again", "names.ban done phishing"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	var made operator.CreatedToken
	if err := json.Unmarshal([]byte(created), &made); err != nil || made.Secret == "" {
		t.Fatal(created)
	}
	file, err := os.ReadFile(filepath.Join(r.dir, "audit.log"))
	if err != nil || strings.Contains(string(file), made.Secret) {
		t.Errorf("%v: %s", err, file)
	}
}

// What is not there is answered with where it can be looked for, and a ban that is
// wider is named.
func TestWhatIsNotThereIsToldWhereToLook(t *testing.T) {
	r := newRig(t, nil)
	r.ask(http.MethodPost, "/v1/names/ban", `{"of":"team.relay.test"}`)
	r.ask(http.MethodPost, "/v1/addresses/ban", `{"of":"203.0.113.0/24"}`)
	for _, c := range []struct{ path, body, want string }{
		{"/v1/names/unban", `{"of":"x.relay.test"}`, "see relay names list --banned"},
		{"/v1/names/unban", `{"of":"x.team.relay.test"}`, "relay names unban team.relay.test"},
		{"/v1/addresses/unban", `{"of":"203.0.113.7"}`, "relay addresses unban 203.0.113.0/24"},
		{"/v1/identities/unban", `{"of":"` + label + `"}`, "see relay identities list"},
		{"/v1/names/unreserve", `{"pattern":"shop"}`, "see relay names list --reserved"},
		{"/v1/names/release", `{"name":"x.relay.test"}`, "see relay names list"},
		{"/v1/tokens/revoke", `{"id":"0123456789abcdef"}`, "see relay token list"},
	} {
		if status, body := r.ask(http.MethodPost, c.path, c.body); status != http.StatusNotFound || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.body, status, body, c.want)
		}
	}
}

// What is refused as a mistake says what was meant, and has done nothing.
func TestMistakesAreRefusedWithWhatWasMeant(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ path, body, want string }{
		{"/v1/names/ban", `{"of":"relay.test"}`, "relay.test is this relay with all of its names"},
		{"/v1/addresses/ban", `{"of":"0.0.0.0/0"}`, "0.0.0.0/0 is everybody"},
		{"/v1/addresses/ban", `{"of":"::/0"}`, "::/0 is everybody"},
		{"/v1/addresses/ban", `{"of":"::ffff:0:0/96"}`, "0.0.0.0/0 is everybody"},
		{"/v1/names/ban", `{"of":"TEST."}`, `did you mean test.relay.test?`},
		{"/v1/names/ban", `{"of":"xyz"}`, `did you mean xyz.relay.test?`},
		{"/v1/names/release", `{"name":"xyz"}`, `did you mean xyz.relay.test?`},
		{"/v1/remotes/kick", `{"name":"xyz"}`, `did you mean xyz.relay.test?`},
		{"/v1/tokens/create", `{}`, "give them with --names: '*.relay.test' is all"},
		{"/v1/tokens/create", `{"names":["*"]}`, "did you mean *.relay.test?"},
		{"/v1/tokens/create", `{"names":["xyz"]}`, `did you mean xyz.relay.test?`},
		{"/v1/tokens/create", `{"names":["a.relay.test"],"limits":{"bandwith":"1MiB/s"}}`, `\"bandwith\" is no limit of a name: there are bandwidth,`},
		{"/v1/tokens/create", `{"names":["a.relay.test"],"limits":{"bandwidth":"10MB"}}`, `bandwidth: \"10MB\"`},
		{"/v1/tokens/create", `{"names":["a.relay.test"],"limits":{"streams":"-4"}}`, `as in bandwidth=10MiB/s`},
	} {
		if status, body := r.ask(http.MethodPost, c.path, c.body); status != http.StatusBadRequest || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.body, status, body, c.want)
		}
	}
	for _, path := range []string{"/v1/names?identity=foo", "/v1/remotes?identity=foo", "/v1/remotes?name=foo"} {
		if status, body := r.ask(http.MethodGet, path, ""); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if len(r.relay.cuts) > 0 {
		t.Errorf("cut: %v", r.relay.cuts)
	}
	for _, path := range []string{"/v1/names/banned", "/v1/tokens"} {
		if _, body := r.ask(http.MethodGet, path, ""); !strings.Contains(body, "[]") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// What this process asks by itself is what the socket answers, with its own word for
// who asks.
func TestProcessPullsLeversItself(t *testing.T) {
	r := newRig(t, nil)
	do := func(method, target string, body any) (any, error) {
		return r.srv.Do(t.Context(), "page user ada", method, target, body)
	}
	if v, err := do("GET", "/v1/status", nil); err != nil || v.(operator.Status).Domain != "relay.test" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := do("GET", "/v1/names/reserved", nil); err != nil || len(v.(operator.Reserved).Reserved) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := do("GET", "/v1/names/n1.relay.test", nil); err != nil || v.(operator.Name).Name != "n1.relay.test" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := do("POST", "/v1/names/ban", operator.Ban{Of: "n1.relay.test", Reason: "why"}); err != nil || v.(operator.Banned).Ban.By != "page user ada" {
		t.Errorf("%+v, %v", v, err)
	}
	for target, status := range map[string]int{"/v1/nothing": 404, "/v1/names?x=y": 400, "/v1/names/%zz": 400} {
		var e *operator.Error
		if v, err := do("GET", target, nil); !errors.As(err, &e) || e.Status != status {
			t.Errorf("%s: %v, %v", target, v, err)
		}
	}
	entries, err := r.srv.Audit.Last(10, time.Time{})
	if err != nil || len(entries) != 1 || entries[0].Who != "page user ada" || entries[0].What != "names.ban" || entries[0].Reason != "why" {
		t.Errorf("%+v, %v", entries, err)
	}
	r.srv.Pause()
	var e *operator.Error
	if _, err := do("GET", "/v1/status", nil); !errors.As(err, &e) || e.Status != 503 {
		t.Errorf("in a takeover: %v", err)
	}
}

// A part of what is shown finds bans.
func TestBansAreFoundByAPart(t *testing.T) {
	r := newRig(t, nil)
	for of, reason := range map[string]string{"bad.relay.test": "Phishing", "worse.relay.test": "spam"} {
		if status, answer := r.ask("POST", "/v1/names/ban", fmt.Sprintf(`{"of":%q,"reason":%q}`, of, reason)); status != 200 {
			t.Fatal(answer)
		}
	}
	for part, want := range map[string]int{"bad": 1, "phish": 1, "relay": 2, "": 2, "other": 0} {
		var page operator.Bans
		if err := r.Get(t.Context(), "/v1/names/banned", map[string][]string{"contains": {part}}, &page); err != nil || len(page.Bans) != want {
			t.Errorf("%q: %+v, %v", part, page, err)
		}
	}
}

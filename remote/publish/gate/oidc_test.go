package gate_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"keystay/internal/hint"
	"keystay/remote/publish/gate"
)

// A provider is one of OpenID Connect that may lie.
type provider struct {
	t      *testing.T
	server *httptest.Server
	key    *ecdsa.PrivateKey
	keys   oidctest.Server

	mu        sync.Mutex
	challenge string            // of the flow that has begun
	claims    map[string]any    // of the next ID token, beside those that it needs
	userinfo  map[string]any    // nil: there is none
	document  map[string]string // replaced in what the provider says of itself
	spoil     func(token string) string
	down      bool
	asked     int
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, claims: map[string]any{}, spoil: func(s string) string { return s }}
	p.keys.PublicKeys = []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "1", Algorithm: oidc.ES256}}
	p.keys.Algorithms = []string{oidc.ES256}
	p.server = httptest.NewTLSServer(p)
	t.Cleanup(p.server.Close)
	p.keys.SetIssuer(p.server.URL)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	switch {
	case p.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/openid-configuration":
		rec := httptest.NewRecorder()
		p.keys.ServeHTTP(rec, r)
		var document map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &document); err != nil {
			p.t.Error(err)
		}
		if p.userinfo != nil {
			document["userinfo_endpoint"] = p.server.URL + "/userinfo"
		}
		for k, v := range p.document {
			document[k] = v
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(document)
	case r.URL.Path == "/userinfo":
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.userinfo)
	case r.URL.Path == "/token":
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != "right" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		b, _ := json.Marshal(p.claims)
		token := p.spoil(oidctest.SignIDToken(p.key, "1", oidc.ES256, string(b)))
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": token})
	default:
		p.keys.ServeHTTP(w, r)
	}
}

// rule is a rule for users of the provider.
func (p *provider) rule(o gate.OIDC) gate.Rule {
	o.Issuer, o.ClientID, o.ClientSecret = p.server.URL, "keystay", "secret"
	if o.Transport == nil {
		o.Transport = p.server.Client().Transport
	}
	return gate.Rule{OIDC: &o, Header: true}
}

// begin goes to the provider as a browser, and returns the state, the cookies and the
// URL that the browser was sent to. The provider's next token is for it.
func (p *provider) begin(x *rig, to string, claims map[string]any) (state string, cookies []*http.Cookie, u *url.URL) {
	p.t.Helper()
	resp := x.get("/.well-known/keystay/oidc?to="+url.QueryEscape(to), person)
	u, err := url.Parse(resp.Header.Get("Location"))
	if resp.StatusCode != http.StatusSeeOther || err != nil || !strings.HasPrefix(u.String(), p.server.URL+"/auth?") {
		p.t.Fatalf("beginning: %s, to %s: %s", resp.Status, u, text(resp))
	}
	q := u.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.challenge = q.Get("code_challenge")
	p.claims = map[string]any{"iss": p.server.URL, "aud": "keystay", "sub": "17", "exp": time.Now().Add(time.Hour).Unix(), "nonce": q.Get("nonce")}
	for k, v := range claims {
		p.claims[k] = v
	}
	return q.Get("state"), resp.Cookies(), u
}

const callback = "/.well-known/keystay/callback"

// end comes back from the provider.
func end(x *rig, state, code string, changes ...change) *http.Response {
	return x.get(callback+"?state="+url.QueryEscape(state)+"&code="+code, append([]change{person, fromElsewhere}, changes...)...)
}

// A user of the provider signs in by the code flow with PKCE, state and nonce, and
// comes back to what it has asked for.
func TestUserOfAProviderSignsIn(t *testing.T) {
	p := newProvider(t)
	x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"Ada@Example.com"}, Scopes: []string{"groups"}}))
	page := text(x.get("/x?y=z", person))
	if !strings.Contains(page, "Sign in with 127.0.0.1") || !strings.Contains(page, `href="/.well-known/keystay/oidc?to=%2fx%3fy%3dz"`) && !strings.Contains(page, `href="/.well-known/keystay/oidc?to=%2Fx%3Fy%3Dz"`) || strings.Contains(page, "<form") {
		t.Errorf("the page is %s", page)
	}
	state, cookies, u := p.begin(x, "/x?y=z", map[string]any{"email": "ada@example.COM", "email_verified": true, "groups": []string{"a", "b,c"}})
	q := u.Query()
	for key, want := range map[string]string{"response_type": "code", "client_id": "keystay", "code_challenge_method": "S256", "redirect_uri": "https://" + name + callback, "scope": "openid email profile groups"} {
		if q.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, q.Get(key), want)
		}
	}
	resp := end(x, state, "right", withCookies(cookies...))
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "/x?y=z" {
		t.Fatalf("coming back: %s, to %q: %s", resp.Status, to, text(resp))
	}
	signed := withCookies(resp.Cookies()...)
	x.want("signed in", x.get("/x?y=z", person, signed, fromElsewhere), http.StatusOK)
	r, _ := x.last()
	for field, want := range map[string]string{"X-Forwarded-User": "ada@example.COM", "X-Forwarded-Email": "ada@example.COM", "X-Forwarded-Groups": "a,b%2Cc"} {
		if got := r.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	x.want("signing out", x.post(signOutPath, nil, signed), http.StatusOK)
	x.want("signed out", x.get("/x", signed), http.StatusUnauthorized)
}

// Which users are let in: verified addresses and groups, from the ID token or from the
// provider's userinfo endpoint.
func TestWhichUsersOfAProviderAreLetIn(t *testing.T) {
	p := newProvider(t)
	type m = map[string]any
	for what, c := range map[string]struct {
		rule             gate.OIDC
		claims, userinfo m
		ok               bool
	}{
		"the address":                     {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": true}, nil, true},
		"verified, as text":               {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": "true"}, nil, true},
		"not verified":                    {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": false}, nil, false},
		"nothing said of verified":        {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com"}, nil, false},
		"verified is 1":                   {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": 1}, nil, false},
		"another address":                 {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "bob@example.com", "email_verified": true}, nil, false},
		"no address":                      {gate.OIDC{Emails: []string{"ada@example.com", "@example.com", ""}}, m{"email_verified": true}, nil, false},
		"a domain":                        {gate.OIDC{Emails: []string{"@Example.com"}}, m{"email": "bob@example.com", "email_verified": true}, nil, true},
		"a domain below":                  {gate.OIDC{Emails: []string{"@example.com"}}, m{"email": "bob@x.example.com", "email_verified": true}, nil, false},
		"a domain with a tail":            {gate.OIDC{Emails: []string{"@example.com"}}, m{"email": "bob@example.com@evil.test", "email_verified": true}, nil, false},
		"a domain alone":                  {gate.OIDC{Emails: []string{"@example.com"}}, m{"email": "@example.com", "email_verified": true}, nil, false},
		"a look-alike":                    {gate.OIDC{Emails: []string{"kim@example.com"}}, m{"email": "\u212Aim@example.com", "email_verified": true}, nil, false},
		"everybody":                       {gate.OIDC{Emails: []string{"*"}}, m{}, nil, true},
		"a group":                         {gate.OIDC{Groups: []string{"staff"}}, m{"groups": []string{"x", "staff"}}, nil, true},
		"a group, as text":                {gate.OIDC{Groups: []string{"staff"}}, m{"groups": "staff"}, nil, true},
		"other groups":                    {gate.OIDC{Groups: []string{"staff"}}, m{"groups": []string{"Staff", "staff2", ""}}, nil, false},
		"odd groups":                      {gate.OIDC{Groups: []string{"staff"}}, m{"groups": m{"staff": true}}, nil, false},
		"a group or an address":           {gate.OIDC{Groups: []string{"staff"}, Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": true, "groups": []string{}}, nil, true},
		"by userinfo":                     {gate.OIDC{Groups: []string{"staff"}}, m{}, m{"sub": "17", "groups": []string{"staff"}}, true},
		"another user's userinfo":         {gate.OIDC{Groups: []string{"staff"}}, m{}, m{"sub": "18", "groups": []string{"staff"}}, false},
		"verified by the other text":      {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com"}, m{"sub": "17", "email": "x@example.com", "email_verified": true}, false},
		"userinfo is not asked in vain":   {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email": "ada@example.com", "email_verified": true}, m{"sub": "18"}, true},
		"verified, of userinfo's address": {gate.OIDC{Emails: []string{"ada@example.com"}}, m{"email_verified": false}, m{"sub": "17", "email": "ada@example.com", "email_verified": true}, true},
	} {
		p.mu.Lock()
		p.userinfo = c.userinfo
		p.mu.Unlock()
		x := newRig(t, nil, p.rule(c.rule))
		state, cookies, _ := p.begin(x, "/", c.claims)
		resp := end(x, state, "right", withCookies(cookies...))
		if (resp.StatusCode == http.StatusSeeOther) != c.ok {
			t.Errorf("%s: %s: %s", what, resp.Status, text(resp))
		}
		if in := x.get("/", withCookies(resp.Cookies()...)).StatusCode == 200; in != c.ok {
			t.Errorf("%s: let in: %v", what, in)
		}
	}
}

// A flow is the browser's that has begun it, for one provider, name and rule, for a
// while; and no token but a good one for it counts.
func TestOnlyTheWholeFlowSignsIn(t *testing.T) {
	p := newProvider(t)
	x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
	refused := func(what string, resp *http.Response) {
		t.Helper()
		for _, c := range resp.Cookies() {
			if c.MaxAge >= 0 {
				t.Errorf("%s sets %s", what, c.Name)
			}
		}
		if resp.StatusCode < 400 || resp.StatusCode == 500 {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
	state, cookies, _ := p.begin(x, "/", nil)
	good := withCookies(cookies...)
	refused("another browser", end(x, state, "right"))
	other, otherCookies, _ := p.begin(x, "/", nil)
	refused("the state of another flow", end(x, other, "right", good))
	refused("no state", end(x, "", "right", good))
	refused("an edited state", end(x, state[1:], "right", good))
	refused("an edited cookie", end(x, other, "right", withCookies(&http.Cookie{Name: otherCookies[0].Name, Value: otherCookies[0].Value[1:]})))
	refused("no code", end(x, other, "", withCookies(otherCookies...)))
	refused("a wrong code", end(x, other, "wrong", withCookies(otherCookies...)))
	refused("the verifier of another flow", end(x, state, "right", good))
	refused("an error", x.get(callback+"?error=access_denied&code=right&state="+url.QueryEscape(other), person, withCookies(otherCookies...)))
	refused("another issuer (RFC 9207)", x.get(callback+"?iss=https%3A%2F%2Fevil.test&code=right&state="+url.QueryEscape(other), person, withCookies(otherCookies...)))
	refused("as a form", x.post(callback, url.Values{"state": {other}, "code": {"right"}}, withCookies(otherCookies...)))
	y := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
	refused("another device", end(y, other, "right", withCookies(otherCookies...)))

	for what, claims := range map[string]map[string]any{
		"another nonce":    {"nonce": "x"},
		"no nonce":         {"nonce": nil},
		"another audience": {"aud": "other"},
		"another issuer":   {"iss": "https://evil.test"},
		"expired":          {"exp": time.Now().Add(-time.Hour).Unix()},
	} {
		x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
		state, cookies, _ := p.begin(x, "/", claims)
		resp := end(x, state, "right", withCookies(cookies...))
		refused(what, resp)
		x.want(what, resp, http.StatusBadGateway)
	}
	for what, spoil := range map[string]func(string) string{
		"no token":     func(string) string { return "" },
		"no signature": func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] },
		"none": func(s string) string {
			parts := strings.Split(s, ".")
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
		},
		"an edited token": func(s string) string {
			parts := strings.Split(s, ".")
			b, _ := base64.RawURLEncoding.DecodeString(parts[1])
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(b), `"17"`, `"18"`, 1))) + "." + parts[2]
		},
	} {
		p.spoil = spoil
		x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
		state, cookies, _ := p.begin(x, "/", nil)
		resp := end(x, state, "right", withCookies(cookies...))
		refused(what, resp)
		x.want(what, resp, http.StatusBadGateway)
	}
	p.spoil = func(s string) string { return s }
	for range 10 {
		refused("a guess", end(x, other, "wrong", withCookies(otherCookies...)))
	}
	x.want("too many tries", end(x, other, "wrong", withCookies(otherCookies...)), http.StatusTooManyRequests)
	x = newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
	state, cookies, _ = p.begin(x, "/", nil)
	if resp := end(x, state, "right", withCookies(cookies...)); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the whole flow: %s", resp.Status)
	}
}

// A provider that is down lets nobody in, and is found when it is back.
func TestProviderThatIsDownIsFoundWhenItIsBack(t *testing.T) {
	p := newProvider(t)
	p.down = true
	rule := p.rule(gate.OIDC{Emails: []string{"*"}})
	rule.Passwords = users(t, "ada:wind")
	synctest.Test(t, func(t *testing.T) {
		// The provider's server is outside of the bubble, and its connections are not
		// waited for here: the transport answers by itself.
		rule := rule
		o := *rule.OIDC
		o.Transport = direct{p}
		rule.OIDC = &o
		x := newRig(t, nil, rule)
		x.want("by password meanwhile", x.get("/", basic("ada", "wind")), http.StatusOK)
		x.want("nobody", x.get("/", person), http.StatusUnauthorized)
		for range 20 {
			resp := x.get("/.well-known/keystay/oidc", person)
			x.want("beginning", resp, http.StatusServiceUnavailable)
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		if p.asked != 1 {
			t.Errorf("the provider was asked %d times", p.asked)
		}
		p.down = false
		time.Sleep(6 * time.Second)
		x.want("when it is back", x.get("/.well-known/keystay/oidc", person), http.StatusSeeOther)
	})
}

// direct answers requests with a provider, without a connection.
type direct struct{ p *provider }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.p.ServeHTTP(w, r)
	return w.Result(), nil
}

// A provider leads to nothing that is not behind TLS, is not followed elsewhere, and
// cannot fill the memory or keep a visitor for ever.
func TestProviderCannotLeadElsewhere(t *testing.T) {
	var reached []string
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = append(reached, r.URL.Path) }))
	defer inside.Close()
	for what, document := range map[string]map[string]string{
		"tokens without TLS": {"token_endpoint": inside.URL + "/token"},
		"keys without TLS":   {"jwks_uri": inside.URL + "/keys"},
	} {
		p := newProvider(t)
		p.document = document
		x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
		state, cookies, _ := p.begin(x, "/", nil)
		resp := end(x, state, "right", withCookies(cookies...))
		x.want(what, resp, http.StatusBadGateway)
	}
	p := newProvider(t)
	for what, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL+"/moved", http.StatusFound)
		},
		"too much":        func(w http.ResponseWriter, _ *http.Request) { w.Write(slices.Repeat([]byte(" "), 2<<20)) },
		"another issuer":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"issuer":"https://evil.test"}`)) },
		"no JSON":         func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`<html>`)) },
		"an empty answer": func(http.ResponseWriter, *http.Request) {},
	} {
		o := gate.OIDC{Emails: []string{"*"}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			answer(w, r)
			return w.Result(), nil
		})}
		x := newRig(t, nil, p.rule(o))
		x.want(what, x.get("/.well-known/keystay/oidc", person), http.StatusServiceUnavailable)
	}
	if len(reached) > 0 {
		t.Errorf("what is inside was asked for %q", reached)
	}
	synctest.Test(t, func(t *testing.T) {
		o := gate.OIDC{Emails: []string{"*"}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		x := newRig(t, nil, p.rule(o))
		start := time.Now()
		x.want("silence", x.get("/.well-known/keystay/oidc", person), http.StatusServiceUnavailable)
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A setting that cannot be right is told when the gate is made.
func TestWrongProvidersAreTold(t *testing.T) {
	for what, o := range map[string]gate.OIDC{
		"no issuer":           {ClientID: "x", Emails: []string{"*"}},
		"http":                {Issuer: "http://id.example.com", ClientID: "x", Emails: []string{"*"}},
		"a user":              {Issuer: "https://a:b@id.example.com", ClientID: "x", Emails: []string{"*"}},
		"a query":             {Issuer: "https://id.example.com?x", ClientID: "x", Emails: []string{"*"}},
		"no client":           {Issuer: "https://id.example.com", Emails: []string{"*"}},
		"everybody, left out": {Issuer: "https://id.example.com", ClientID: "x"},
	} {
		_, err := gate.New(gate.Config{Name: name, Store: open(t, ""), Rules: []gate.Rule{{OIDC: &o}}})
		if err == nil || what == "everybody, left out" && len(hint.All(err)) == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := gate.New(gate.Config{Name: name, Store: open(t, ""), Rules: []gate.Rule{{OIDC: &gate.OIDC{Issuer: "http://127.0.0.1:1", ClientID: "x", Emails: []string{"*"}}}}})
	if err != nil {
		t.Errorf("on this machine: %v", err)
	}
}

// Whatever somebody comes from, the sign-in fits into a cookie: where it does not with
// the way back, it leads to the start page.
func TestALongWayBackDoesNotKeepFromSigningIn(t *testing.T) {
	p := newProvider(t)
	x := newRig(t, nil, p.rule(gate.OIDC{Emails: []string{"*"}}))
	for to, want := range map[string]string{
		"/?" + strings.Repeat("&", 2000): "/", "/?" + strings.Repeat("a", 2000): "/?" + strings.Repeat("a", 2000),
	} {
		state, cookies, _ := p.begin(x, to, nil)
		resp := end(x, state, "right", withCookies(cookies...))
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("from %.10q: %s, to %.10q", to, resp.Status, got)
		}
	}
}

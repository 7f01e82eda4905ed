package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/remote/publish"
	"keystay/remote/publish/gate"
)

// groupStorage is a provider's storage that knows of groups.
type groupStorage struct{ *storage.Storage }

func (s groupStorage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	err := s.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
	if subject == "ada" {
		info.AppendClaims("groups", []string{"staff"})
	}
	return err
}

// providerUsers are a provider's users: the address of one is verified.
type providerUsers struct{}

func (providerUsers) GetUserByID(id string) *storage.User {
	switch id {
	case "ada", "bob":
		return &storage.User{ID: id, Username: id, Password: "verysecure", Email: id + "@example.com", EmailVerified: id == "ada"}
	}
	return nil
}

func (u providerUsers) GetUserByUsername(name string) *storage.User { return u.GetUserByID(name) }

func (providerUsers) ExampleClientID() string { return "keystay" }

// newProvider makes a provider of OpenID Connect with a client.
func newProvider(issuer, redirect string) http.Handler {
	clients := map[string]*storage.Client{"keystay": storage.WebClient("keystay", "secret", redirect)}
	kept := storage.NewStorageWithClients(providerUsers{}, clients)
	return exampleop.SetupServer(issuer, groupStorage{kept}, nil, false, op.WithAllowInsecure())
}

// startProvider starts one and returns its issuer.
func startProvider(t *testing.T, redirect string) (issuer string) {
	t.Helper()
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	handler = newProvider(srv.URL, redirect)
	return srv.URL
}

// providerCommand is the command
//
//	provider start   a provider of OpenID Connect at http://$HOOK, with the client
//	                 keystay for $URL, whose secret is secret; its users are ada, of
//	                 the group staff, and bob, and their password is verysecure
//	provider stop
func providerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "start" && args[0] != "stop" {
		ts.Fatalf("usage: provider start|stop")
	}
	w := settingOf(ts)
	if args[0] == "stop" {
		w.provider.Close()
		return
	}
	ln, err := net.Listen("tcp", ts.Getenv("HOOK"))
	ts.Check(err)
	w.provider = &http.Server{
		Handler:           newProvider("http://"+ts.Getenv("HOOK"), ts.Getenv("URL")+"/.well-known/keystay/callback"),
		ReadHeaderTimeout: world.Patience,
	}
	go w.provider.Serve(ln)
}

var hiddenID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// Users of a real provider sign in through a gate as its groups and addresses say, and
// out again.
func TestGateWithAProvider(t *testing.T) {
	t.Parallel()
	const name = "xyz.relay.test"
	ca := testca.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // its port is the name's
	if err != nil {
		t.Fatal(err)
	}
	base := "https://" + name + ":" + ln.Addr().String()[strings.LastIndexByte(ln.Addr().String(), ':')+1:]
	issuer := startProvider(t, base+"/.well-known/keystay/callback")
	store, err := gate.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Name: name, Store: store, Rules: []gate.Rule{
		{Paths: []string{"/groups"}, Header: true, OIDC: &gate.OIDC{Issuer: issuer, ClientID: "keystay", ClientSecret: "secret", Groups: []string{"staff"}}},
		{Paths: []string{"/mail"}, Header: true, OIDC: &gate.OIDC{Issuer: issuer, ClientID: "keystay", ClientSecret: "secret", Emails: []string{"@example.com"}}},
		{Paths: []string{"/others"}, OIDC: &gate.OIDC{Issuer: issuer, ClientID: "keystay", ClientSecret: "secret", Emails: []string{"somebody@example.com"}}},
		{Paths: []string{"/wrong"}, OIDC: &gate.OIDC{Issuer: issuer, ClientID: "keystay", ClientSecret: "wrong", Emails: []string{"*"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s is here, of %s", r.Header.Get("X-Forwarded-User"), r.Header.Get("X-Forwarded-Groups"))
	})
	srv := publish.NewSite(name, publish.SiteConfig{Gate: g.Wrap, Routes: []publish.Route{{Path: "/", Handler: service}}}).Server()
	go srv.Serve(publish.Visitors(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ca.Issue(name)}})))
	t.Cleanup(func() { srv.Close() })

	for _, c := range []struct {
		path, user string
		status     int
		shows      string
	}{
		{"/groups/x?y=z", "ada", 200, "ada@example.com is here, of staff"},
		{"/groups/x?y=z", "bob", 403, "as bob, and"},
		{"/mail", "ada", 200, "ada@example.com is here, of "},
		{"/mail", "bob", 403, "as bob, and"}, // nobody has verified its address
		{"/others", "ada", 403, "as ada@example.com, and"},
		{"/wrong", "ada", 502, "has not confirmed it"},
	} {
		client := person(t, ca, ln.Addr().String())
		resp, page := signInAt(t, client, base, c.path, c.user)
		if resp.StatusCode != c.status || !strings.Contains(page, c.shows) {
			t.Errorf("%s as %s: %s: %s", c.path, c.user, resp.Status, page)
		}
		if c.status != 200 {
			continue
		}
		if at := resp.Request.URL.String(); at != base+c.path {
			t.Errorf("%s leads to %s", c.path, at)
		}
		if resp, page := whole(t)(client.PostForm(base+"/.well-known/keystay/sign-out", nil)); resp.StatusCode != 200 {
			t.Errorf("signing out: %s: %s", resp.Status, page)
		}
		if resp, page := whole(t)(client.Get(base + c.path)); resp.StatusCode != 401 {
			t.Errorf("signed out: %s: %s", resp.Status, page)
		}
	}
}

// person returns a client that keeps cookies and follows where it is sent.
func person(t *testing.T, ca *testca.CA, at string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !strings.HasPrefix(addr, "127.0.0.1:") {
				addr = at
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: world.Patience}
}

// whole reads answers.
func whole(t *testing.T) func(*http.Response, error) (*http.Response, string) {
	return func(resp *http.Response, err error) (*http.Response, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
}

// signInAt goes the way of a person: from the page, to the provider, and back.
func signInAt(t *testing.T, client *http.Client, base, path, user string) (*http.Response, string) {
	t.Helper()
	get := whole(t)
	if resp, page := get(client.Get(base + path)); resp.StatusCode != 401 {
		t.Fatalf("%s: %s: %s", path, resp.Status, page)
	}
	resp, page := get(client.Get(base + "/.well-known/keystay/oidc?to=" + url.QueryEscape(path)))
	id := hiddenID.FindStringSubmatch(page)
	if id == nil {
		t.Fatalf("the provider's page: %s: %s", resp.Status, page)
	}
	action := resp.Request.URL.ResolveReference(&url.URL{Path: "/login/username"}).String()
	return get(client.PostForm(action, url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}}))
}

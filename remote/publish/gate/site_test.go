package gate_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"keystay/internal/testca"
	"keystay/remote/publish"
	"keystay/remote/publish/gate"
)

// handshaken are connections whose TLS handshake is done, as a remote has them.
type handshaken struct{ net.Listener }

func (l handshaken) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		_ = c.(*tls.Conn).Handshake() // what comes of it is seen later
	}
	return c, err
}

// serveSite serves a site with a gate, and a service behind it that says what it got.
// It returns a client's configuration and the base of URLs.
func serveSite(t *testing.T, log *slog.Logger, rules ...gate.Rule) (ca *testca.CA, at string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			fmt.Fprint(w, "data: 1\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, "%s user %q cookies %q authorization %q", r.URL, r.Header.Values("X-Forwarded-User"), r.Header.Values("Cookie"), r.Header.Values("Authorization"))
	}))
	t.Cleanup(service.Close)
	u, _ := url.Parse(service.URL)
	g, err := gate.New(gate.Config{Name: name, Store: open(t, ""), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca = testca.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(name)}, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequestClientCert, ClientCAs: g.ClientCAs()}
	site := publish.NewSite(name, publish.SiteConfig{Gate: g.Wrap, Routes: []publish.Route{{Path: "/", Target: &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}, Logger: log}}}})
	srv := site.Server()
	go srv.Serve(publish.Visitors(handshaken{tls.NewListener(ln, config)}))
	t.Cleanup(func() { srv.Close() })
	return ca, ln.Addr().String()
}

// In front of a real service, over HTTP/1.1 and HTTP/2, what the gate adds does not get
// through but for the user, where that is asked for, and what it needs does not either.
func TestServiceBehindAGateOverBothVersions(t *testing.T) {
	clients := newSigner(t, "clients")
	ca, at := serveSite(t, nil,
		gate.Rule{Passwords: users(t, "ada:wind"), Header: true},
		gate.Rule{Paths: []string{"/cert"}, ClientCA: []*x509.Certificate{clients.cert}, Header: true},
		gate.Rule{Paths: []string{"/silent"}, Passwords: users(t, "bob:rain")},
	)
	cert := clients.client(x509.Certificate{Subject: pkix.Name{CommonName: "eve"}})
	for _, version := range []int{1, 2} {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), ServerName: name, Certificates: []tls.Certificate{*cert}},
			ForceAttemptHTTP2: version == 2,
		}
		defer transport.CloseIdleConnections()
		get := func(path string, changes ...change) string {
			t.Helper()
			r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+at+path, nil)
			r.Host = name
			r.Header.Set("X-Forwarded-User", "root")
			r.Header.Set("Cookie", "own=1")
			for _, c := range changes {
				c(r)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.ProtoMajor != version {
				t.Fatalf("over %s", resp.Proto)
			}
			return fmt.Sprint(resp.StatusCode, " ", string(b))
		}
		for _, c := range []struct {
			path   string
			change change
			want   string
		}{
			{"/a%20b?c", basic("ada", "wind"), `200 /a%20b?c user ["ada"] cookies ["own=1"] authorization []`},
			{"/cert", header(), `200 /cert user ["eve"] cookies ["own=1"] authorization []`},
			{"/cert", header("Authorization", "Bearer x"), `200 /cert user ["eve"] cookies ["own=1"] authorization ["Bearer x"]`},
			{"/silent", basic("bob", "rain"), `200 /silent user [] cookies ["own=1"] authorization []`},
			{"/silent", basic("ada", "wind"), "401 "},
			{"/x/..%2fcert", header(), "400 "},
			{"//cert", header(), "400 "},
			{"/a", func(r *http.Request) { r.Host = "other.relay.test"; r.SetBasicAuth("ada", "wind") }, "421 "},
			{"/open", func(r *http.Request) { r.Method = "COPY"; r.Header.Set("Destination", "/silent") }, "401 "},
		} {
			if got := get(c.path, c.change); !strings.HasPrefix(got, c.want) {
				t.Errorf("HTTP/%d %s: %s, want %s", version, c.path, got, c.want)
			}
		}
	}
}

// A sign-out ends what runs, in a way that visitors notice and the service is not blamed
// for.
func TestSignOutEndsAStreamOfEvents(t *testing.T) {
	var log bytes.Buffer
	ca, at := serveSite(t, slog.New(slog.NewTextHandler(&log, nil)), gate.Rule{Passwords: users(t, "ada:wind")})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: name}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	send := func(method, path, form string, cookies ...*http.Cookie) *http.Response {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), method, "https://"+at+path, strings.NewReader(form))
		r.Host = name
		if form != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		withCookies(cookies...)(r)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	signed := send("POST", signInPath, "user=ada&password=wind").Cookies()
	events := send("GET", "/events", "", signed...)
	if _, err := io.ReadFull(events.Body, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	if resp := send("POST", signOutPath, "", signed...); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	if _, err := io.Copy(io.Discard, events.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if log.Len() > 0 {
		t.Errorf("the log says %s", &log)
	}
}

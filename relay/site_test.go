package relay_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"keystay/relay"
	"keystay/relay/names"
)

// get fetches a path from the relay's own name, with this Host.
func (r *rig) get(host, path string, protos ...string) (*http.Response, string) {
	r.t.Helper()
	tr := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: protos})
			return tc, tc.Handshake()
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequest("GET", "https://"+host+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(tr, req)
}

func (r *rig) do(tr http.RoundTripper, req *http.Request) (*http.Response, string) {
	r.t.Helper()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

func TestWellKnownFileTellsPortAndPolicy(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.PublicPort, s.Abuse = 443, "mailto:abuse@relay.test" })
	resp, body := r.get(zone, "/.well-known/keystay.json")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"keystay": 1.0, "domain": zone, "public_port": 443.0, "policy": "open", "key_names": "open", "transports": []any{"tls", "wss"},
		"abuse": "mailto:abuse@relay.test", "version": "test", "custom_domains": false}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestPageShowsTheCommandForItsPolicyAndPort(t *testing.T) {
	for _, c := range []struct {
		policy         names.Policy
		port           int
		words, command string
	}{
		{names.Open, 443, "the first to claim", "remote --domain NAME.relay.test --local :3000"},
		{names.Open, 7445, "the first to claim", "remote --domain NAME.relay.test --relay relay.test:7445 --local :3000"},
		{names.WithToken, 443, "a token", "remote --domain NAME.relay.test --token-file FILE --local :3000"},
		{names.WithToken, 7445, "a token", "remote --domain NAME.relay.test --relay relay.test:7445 --token-file FILE --local :3000"},
		{names.Closed, 443, "Nobody new", "remote --relay relay.test --local :3000"},
		{names.Closed, 7445, "Nobody new", "remote --relay relay.test:7445 --local :3000"},
	} {
		r := newRig(t, func(s *relay.Server) {
			s.Names.Policy, s.PublicPort, s.Abuse = c.policy, c.port, "https://abuse.test/?a=1&b=<2>"
		})
		resp, body := r.get(zone, "/")
		if resp.StatusCode != 200 || !strings.Contains(body, c.words) || !strings.Contains(body, "a=1&amp;b=") || strings.Contains(body, "<2>") {
			t.Errorf("%s: %s\n%s", c.policy, resp.Status, body)
		}
		if !strings.Contains(body, "<code>"+c.command+"</code>") {
			t.Errorf("%s on port %d: not the command %q\n%s", c.policy, c.port, c.command, body)
		}
		_, style, _ := strings.Cut(body, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		sum := sha256.Sum256([]byte(style))
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, base64.StdEncoding.EncodeToString(sum[:])) || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the policy is not for the page's style: %v", resp.Header)
		}
	}
	r := newRig(t, func(s *relay.Server) { s.Abuse = "mailto:abuse@relay.test" })
	if _, body := r.get(zone, "/"); !strings.Contains(body, `<a href="mailto:abuse@relay.test">abuse@relay.test</a>`) {
		t.Errorf("the address for complaints:\n%s", body)
	}
	r = newRig(t, nil)
	for host, want := range map[string]int{zone: 404, zone + ":8443": 404, "RELAY.test.": 404, "a.relay.test": 421, "example.com": 421} {
		if resp, _ := r.get(host, "/nothing/here"); resp.StatusCode != want {
			t.Errorf("host %s: %s, want %d", host, resp.Status, want)
		}
	}
	if resp, _ := r.get("a.relay.test", "/.well-known/keystay.json"); resp.StatusCode != 421 {
		t.Errorf("the document under another name: %s", resp.Status)
	}
}

// An acme-tls/1 connection is over with its handshake (RFC 8737).
func TestValidationEndsWithItsHandshake(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		config := s.TLS.Clone()
		config.NextProtos = []string{"acme-tls/1"}
		s.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.SupportedProtos[0] == "acme-tls/1" {
				return config, nil
			}
			return nil, nil
		}
	})
	tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{"acme-tls/1"}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := tc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the handshake: %v", err)
	}
	if resp, _ := r.get(zone, "/", "http/1.1"); resp.StatusCode != 200 {
		t.Errorf("the site beside it: %s", resp.Status)
	}
}

// plain is the relay's port 80.
func (r *rig) plain() (get func(host, path string) (*http.Response, string), addr string) {
	r.t.Helper()
	ln := listenTCP(r.t)
	done := make(chan error, 1)
	go func() { done <- r.srv.ServeHTTP01(ln) }()
	r.t.Cleanup(func() {
		r.srv.Close()
		if err := <-done; !errors.Is(err, relay.ErrServerClosed) {
			r.t.Errorf("ServeHTTP01: %v", err)
		}
	})
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}}
	return func(host, path string) (*http.Response, string) {
		r.t.Helper()
		req, err := http.NewRequest("GET", "http://"+host+path, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		return r.do(tr, req)
	}, ln.Addr().String()
}

// Browsers get a page, and programs text, where there is nothing to lead to.
func TestPagesOfTheRelay(t *testing.T) {
	r := newRig(t, nil)
	_, addr := r.plain()
	d := r.device(newIdentity(t), "a.relay.test")
	d.Close()
	r.waitForLog("remote disconnected")
	ask := func(host, accept string) *http.Response {
		req, err := http.NewRequest("GET", "http://"+addr+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Accept", accept)
		resp, err := (&http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for _, c := range []struct {
		host   string
		status int
		retry  string
		says   string
	}{
		{"unknown.relay.test", 404, "", "There is no such name here"},
		{"192.0.2.1", 404, "", "There is no such name here"},
		{"a.relay.test", 503, "10", "The device behind this name is away"},
	} {
		for accept, kind := range map[string]string{"text/html,*/*;q=0.8": "text/html; charset=utf-8", "*/*": "text/plain; charset=utf-8"} {
			resp := ask(c.host, accept)
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			h := resp.Header
			if err != nil || resp.StatusCode != c.status || h.Get("Content-Type") != kind || h.Get("Retry-After") != c.retry ||
				h.Get("Location") != "" || h.Get("Cache-Control") != "no-store" || !strings.Contains(string(body), c.says) {
				t.Errorf("%s, %s: %s %v\n%s (%v)", c.host, accept, resp.Status, h, body, err)
			}
		}
	}
}

// The operator's address shows numbers, and no names.
func TestAdminShowsNumbersAndNoNames(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	r.device(id, "a.relay.test", id.label()).echo("a")
	r.reaches("a.relay.test", "a")
	r.refused("unknown.relay.test", unrecognizedName)
	ln := listenTCP(t)
	done := make(chan error, 1)
	notReady := errors.New("no certificate yet")
	go func() { done <- r.srv.ServeAdmin(ln, func() error { return notReady }) }()
	tr := &http.Transport{DisableKeepAlives: true}
	get := func(method, path string) (*http.Response, string) {
		req, _ := http.NewRequest(method, "http://"+ln.Addr().String()+path, nil)
		return r.do(tr, req)
	}
	_, metrics := get("GET", "/metrics")
	for _, want := range []string{"keystay_sessions 1\n", "keystay_names 2\n", "keystay_visitors_total 1\n", "keystay_refused_total 1\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
	for _, secret := range []string{"a.relay.test", "unknown", strings.TrimSuffix(id.label(), "."+zone)} {
		if strings.Contains(metrics, secret) {
			t.Errorf("%q is in the metrics", secret)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 404} {
		if resp, body := get("GET", path); resp.StatusCode != want || want == 503 && !strings.Contains(body, notReady.Error()) {
			t.Errorf("%s: %s %q", path, resp.Status, body)
		}
	}
	if resp, _ := get("POST", "/metrics"); resp.StatusCode == 200 {
		t.Error("POST is answered")
	}
	r.close()
	if err := <-done; err != relay.ErrServerClosed {
		t.Errorf("ServeAdmin: %v", err)
	}
}

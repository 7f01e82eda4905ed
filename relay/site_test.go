package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/relay"
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

func TestWellKnown(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.PublicPort, s.Abuse = 443, "mailto:abuse@relay.test" })
	resp, body := r.get(zone, "/.well-known/keystay.json")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"keystay": 1.0, "domain": zone, "public_port": 443.0, "policy": "open", "transports": []any{"tls", "wss"},
		"abuse": "mailto:abuse@relay.test", "version": "test"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestSite(t *testing.T) {
	for p, words := range map[relay.Policy]string{relay.Open: "the first to claim", relay.WithToken: "a token", relay.Closed: "Nobody new"} {
		r := newRig(t, func(s *relay.Server) { s.Names.Policy, s.Abuse = p, "https://abuse.test/?a=1&b=<2>" })
		resp, body := r.get(zone, "/")
		if resp.StatusCode != 200 || !strings.Contains(body, words) || !strings.Contains(body, "a=1&amp;b=") || strings.Contains(body, "<2>") {
			t.Errorf("%s: %s\n%s", p, resp.Status, body)
		}
		if resp.Header.Get("Content-Security-Policy") == "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", resp.Header)
		}
	}
	r := newRig(t, nil)
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
func TestOwnValidation(t *testing.T) {
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

func TestPlainHTTP(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.PublicPort = 8443
		s.Challenge = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "own ", r.URL.Path) })
	})
	get, addr := r.plain()
	d := r.device(newIdentity(t), "a.relay.test")
	for _, c := range []struct {
		host, path, location string
		status               int
	}{
		{"a.relay.test", "/x?y=z", "https://a.relay.test:8443/x?y=z", 308},
		{"A.relay.test.:80", "/", "https://a.relay.test:8443/", 308},
		{zone, "/", "https://relay.test:8443/", 308},
		{"a.relay.test", "//example.com/", "https://a.relay.test:8443//example.com/", 308},
		{"unknown.relay.test", "/", "", 404},
		{"unknown.relay.test", "/.well-known/acme-challenge/x", "", 404},
		{"192.0.2.1", "/", "", 404},
		{"example.com", "/", "", 404},
		{zone, "/.well-known/acme-challenge/x", "", 200},
	} {
		resp, body := get(c.host, c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Location") != c.location {
			t.Errorf("%s%s: %s to %q", c.host, c.path, resp.Status, resp.Header.Get("Location"))
		}
		if c.status == 200 && body != "own /.well-known/acme-challenge/x" {
			t.Errorf("own challenge: %q", body)
		}
	}
	// A request line that a URL's parser takes for something else must not
	// choose where the browser goes.
	for _, line := range []string{"OPTIONS * HTTP/1.1", "GET http:.example.com HTTP/1.1", "GET http:@example.com/ HTTP/1.1"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\r\nHost: a.relay.test\r\nConnection: close\r\n\r\n", line)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if to := resp.Header.Get("Location"); to != "" && !strings.HasPrefix(to, "https://a.relay.test:8443/") {
			t.Errorf("%s: sent to %s", line, to)
		}
		resp.Body.Close()
		c.Close()
	}

	// The CA's question goes to the device, and its answer back.
	go func() {
		s, err := d.Accept()
		if err != nil {
			return
		}
		if h := s.Header(); h.Kind != framing.KindHTTP01 || h.Name != "a.relay.test" {
			t.Errorf("header %+v", h)
		}
		req, err := http.ReadRequest(bufio.NewReader(s))
		if err != nil || req.Host != "a.relay.test" || req.URL.Path != "/.well-known/acme-challenge/token" {
			t.Errorf("request %+v, %v", req, err)
		}
		if len(req.Header) > 2 || req.Header.Get("Upgrade") != "" || req.Header.Get("Cookie") != "" {
			t.Errorf("more than the question: %v", req.Header)
		}
		io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer")
		s.CloseWrite()
		io.Copy(io.Discard, s)
		s.Close()

		// A device cannot make a tunnel of it.
		if s, err = d.Accept(); err != nil {
			return
		}
		io.WriteString(s, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		io.Copy(io.Discard, s)
		s.Close()
	}()
	if resp, body := get("a.relay.test", "/.well-known/acme-challenge/token"); resp.StatusCode != 200 || body != "answer" {
		t.Errorf("challenge: %s %q", resp.Status, body)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade\r\nUpgrade: x\r\nCookie: x\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 502 {
		t.Errorf("an upgrade on port 80: %v, %v", resp, err)
	}
	c.Close()
	d.Close()
	<-d.Done()
	r.waitForLog("remote disconnected")
	if resp, _ := get("a.relay.test", "/.well-known/acme-challenge/token"); resp.StatusCode != 502 {
		t.Errorf("challenge for a device that is away: %s", resp.Status)
	}
}

// The operator's address shows numbers, and no names.
func TestAdmin(t *testing.T) {
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

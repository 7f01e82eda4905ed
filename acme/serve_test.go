package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// newCert returns a certificate that has only a leaf.
func newCert(leaf *x509.Certificate) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, Leaf: leaf}
}

// handshake has a visitor with that configuration meet a server, and returns
// both ends' errors and what the visitor got.
func handshake(server, visitor *tls.Config) (serverErr, visitorErr error, got tls.ConnectionState) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).Handshake()
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, visitor)
	visitorErr = c.Handshake()
	b.Close()
	return <-done, visitorErr, c.ConnectionState()
}

// waiting returns a Keeper that manages name and never orders.
func waiting(t *testing.T) *Keeper {
	k, _ := newKeeper(t, Config{Ready: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}, offline)
	return k
}

func TestVisitorsGetTheCertificateTheyCanUse(t *testing.T) {
	k := waiting(t)
	put(t, k, time.Now(), time.Now().Add(90*day))
	manage(t, k)
	for _, test := range []struct {
		name     string
		protos   []string
		version  uint16
		negotiat string
		ok       bool
	}{
		{name, []string{"h2", "http/1.1"}, tls.VersionTLS13, "h2", true},
		{name, []string{"http/1.1"}, tls.VersionTLS12, "http/1.1", true},
		{"DEV.Relay.Test", nil, tls.VersionTLS13, "", true},
		{name, []string{ALPN, "h2"}, tls.VersionTLS13, "h2", true},
		{name, []string{ALPN}, tls.VersionTLS13, "", false}, // nothing under way
		{name, []string{"h2"}, tls.VersionTLS11, "", false},
		{"other.relay.test", []string{"h2"}, tls.VersionTLS13, "", false},
	} {
		_, err, got := handshake(k.TLSConfig(), &tls.Config{ServerName: test.name, NextProtos: test.protos,
			MinVersion: test.version, MaxVersion: test.version, InsecureSkipVerify: true})
		if (err == nil) != test.ok || got.NegotiatedProtocol != test.negotiat {
			t.Errorf("%+v: %q, %v", test, got.NegotiatedProtocol, err)
		}
	}
	k.Close()
	if serverErr, _, _ := handshake(k.TLSConfig(), &tls.Config{ServerName: name}); !errors.Is(serverErr, ErrUnknownName) {
		t.Errorf("closed: %v", serverErr)
	}
}

func TestValidationByALPN(t *testing.T) {
	k := waiting(t)
	manage(t, k)
	for _, n := range []string{name, "other.relay.test"} { // the other is not ours
		chal := acme.Challenge{Type: acme.ChallengeTypeTLSALPN01, KeyAuthorization: "token.thumb",
			Identifier: acme.Identifier{Type: "dns", Value: n}}
		if err := k.answers.Present(t.Context(), chal); err != nil {
			t.Fatal(err)
		}
		validator := &tls.Config{ServerName: n, NextProtos: []string{ALPN}, InsecureSkipVerify: true}
		_, err, got := handshake(k.TLSConfig(), validator)
		if (err == nil) != (n == name) {
			t.Errorf("%s: %v", n, err)
		}
		if n == name && (got.NegotiatedProtocol != ALPN || len(got.PeerCertificates) != 1 ||
			got.PeerCertificates[0].DNSNames[0] != name) {
			t.Errorf("got %+v", got)
		}
		if err := k.answers.CleanUp(t.Context(), chal); err != nil {
			t.Fatal(err)
		}
		if _, err, _ := handshake(k.TLSConfig(), validator); err == nil {
			t.Error("answered after the validation")
		}
	}
}

func TestValidationByHTTP(t *testing.T) {
	k := waiting(t)
	chal := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "tok", KeyAuthorization: "tok.thumb",
		Identifier: acme.Identifier{Type: "dns", Value: name}}
	if err := k.answers.Present(t.Context(), chal); err != nil {
		t.Fatal(err)
	}
	h := k.HTTPChallenge(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	get := func(method, host, path string) (int, string) {
		r := httptest.NewRequest(method, "http://"+host+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, host := range []string{name, "DEV.relay.test:80", "dev.relay.test."} {
		if code, body := get("GET", host, challengePath+"tok"); code != 200 || body != "tok.thumb" {
			t.Errorf("%s: %d %q", host, code, body)
		}
	}
	for _, r := range [][3]string{
		{"GET", "other.relay.test", challengePath + "tok"},
		{"GET", name, challengePath + "other"},
		{"GET", name, challengePath},
		{"POST", name, challengePath + "tok"},
		{"GET", name, "/tok"},
	} {
		if code, _ := get(r[0], r[1], r[2]); code != http.StatusTeapot {
			t.Errorf("%v: %d", r, code)
		}
	}
	if err := k.answers.CleanUp(t.Context(), chal); err != nil {
		t.Fatal(err)
	}
	if code, _ := get("GET", name, challengePath+"tok"); code != http.StatusTeapot {
		t.Error("answered after the validation")
	}
	h = k.HTTPChallenge(nil)
	if code, _ := get("GET", name, "/"); code != http.StatusNotFound {
		t.Errorf("without a handler: %d", code)
	}
}

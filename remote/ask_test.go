package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/remote"
)

// newPage starts a server of a relay's page alone, and returns its address.
func newPage(t *testing.T, cert tls.Certificate, page http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: page, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { srv.Close(); <-done })
	return ln.Addr().String()
}

// What a relay says of itself is asked over one connection, and the state directory is
// not looked at: no identity is shown.
func TestRelayIsAskedWithoutAnIdentity(t *testing.T) {
	ca := testca.New(t)
	var asked atomic.Int32
	var from atomic.Value
	address := newPage(t, ca.Issue(zone), func(w http.ResponseWriter, r *http.Request) {
		if r.Host != zone || r.URL.Path != "/.well-known/keystay.json" || from.Load() != nil && from.Load() != r.RemoteAddr {
			t.Errorf("%s asks for %s%s", r.RemoteAddr, r.Host, r.URL.Path)
		}
		from.Store(r.RemoteAddr)
		fmt.Fprintf(w, `{"keystay":1,"policy":"token","key_names":"closed","custom_domains":true,"tcp_ports":"1-2","version":"v%d","later":1}`, asked.Add(1))
	})
	about, err := remote.AskRelay(t.Context(), remote.DeviceConfig{RelayRoots: ca.Pool(), Proxy: none}, remote.Route{Candidates: []string{zone}, Addresses: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	if about.RoundTrip <= 0 || about.Address.String() != address || asked.Load() < 2 {
		t.Errorf("%+v, asked %d times", about, asked.Load())
	}
	about.RoundTrip, about.Address, about.Version = 0, nil, about.Version[:1]
	if want := (remote.About{Policy: "token", KeyNames: "closed", CustomDomains: true, TCPPorts: "1-2", Version: "v"}); about != want {
		t.Errorf("%+v, want %+v", about, want)
	}
}

// A relay that is not reached says why, with what to do.
func TestRelayThatIsNotReachedSaysWhy(t *testing.T) {
	ca, other := testca.New(t), testca.New(t)
	page := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for what, c := range map[string]struct {
		address string
		advice  *hint.Advice
	}{
		"another site":           {newPage(t, ca.Issue(zone), page(404, "")), hint.NotRelay},
		"JSON of something else": {newPage(t, ca.Issue(zone), page(200, "{}")), hint.NotRelay},
		"a page without an end":  {newPage(t, ca.Issue(zone), page(200, `{"keystay":1,"x":"`+strings.Repeat("x", 70<<10)+`"}`)), hint.NotRelay},
		"another name":           {newPage(t, ca.Issue("relay.example"), page(200, "{}")), hint.OtherRelay},
		"another CA":             {newPage(t, other.Issue(zone), page(200, "{}")), nil},
		"nothing":                {closed.Addr().String(), hint.NothingListens},
	} {
		_, err := remote.AskRelay(t.Context(), remote.DeviceConfig{RelayRoots: ca.Pool(), Proxy: none}, remote.Route{Candidates: []string{zone}, Addresses: []string{c.address}})
		var none *remote.NoRelayError
		if !errors.As(err, &none) || c.advice != nil && !slices.Equal(hint.All(err), c.advice.Do) || len(hint.All(err)) == 0 {
			t.Errorf("%s: %v, %q", what, err, hint.All(err))
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := remote.AskRelay(ended, remote.DeviceConfig{Proxy: none}, remote.Route{Candidates: []string{zone}, Addresses: []string{closed.Addr().String()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

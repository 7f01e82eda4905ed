package relay_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/relay"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// A wssRelay is a relay in memory that is reached over WebSockets.
type wssRelay struct {
	t   *testing.T
	ca  *testca.CA
	ln  *memconn.Listener
	srv *relay.Server
	key ed25519.PrivateKey
}

func newWSSRelay(t *testing.T) *wssRelay {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before, testnet.Lingering()) })
	grants, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &wssRelay{t: t, ca: testca.New(t), ln: memconn.Listen(nil), key: key}
	r.srv = &relay.Server{
		Domain: "relay.test",
		TLS:    &tls.Config{Certificates: []tls.Certificate{r.ca.Issue("relay.test")}, NextProtos: []string{"h2", "http/1.1"}},
		Names:  &names.Names{Grants: grants},
	}
	done := make(chan struct{})
	go func() { r.srv.Serve(r.ln); close(done) }()
	t.Cleanup(func() { r.srv.Close(); <-done; grants.Close() })
	return r
}

// dial does a TLS handshake with the relay's site.
func (r *wssRelay) dial(ctx context.Context) (*tls.Conn, error) {
	c, err := r.ln.Dial(ctx)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(c, &tls.Config{ServerName: "relay.test", RootCAs: r.ca.Pool(), NextProtos: []string{"http/1.1"}})
	return tc, tc.HandshakeContext(ctx)
}

// link links over a WebSocket, with a proof for the connection of cs or, where
// that is nil, for its own.
func (r *wssRelay) link(cs *tls.ConnectionState, handler framing.Handler) (*framing.Link, error) {
	r.t.Helper()
	tc, err := r.dial(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	if cs == nil {
		own := tc.ConnectionState()
		cs = &own
	}
	hello := framing.Hello{Run: framing.Run{Number: 1}}
	if err := hello.Sign(r.key, cs, "relay.test"); err != nil {
		r.t.Fatal(err)
	}
	c, err := framing.DialWebSocket(context.Background(), tc, "relay.test")
	if err != nil {
		r.t.Fatal(err)
	}
	link, _, err := framing.Client(context.Background(), c, hello, handler)
	if err == nil {
		r.t.Cleanup(func() { link.Close() })
	}
	return link, err
}

// What a device sends over a WebSocket is neither bounded nor looked at as HTTP is:
// it may be long, and have lines without end.
func TestLinkOverWebSocketCarriesBulk(t *testing.T) {
	r := newWSSRelay(t)
	link, err := r.link(nil, framing.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	const bulk = 1 << 20
	s, _ := r.visitor(link)
	if _, err := s.Write(bytes.Repeat([]byte("\n"), framing.InitialCredit)); err != nil {
		t.Fatal(err)
	}
	for sent := framing.InitialCredit; sent < bulk; sent += 64 << 10 {
		// Each claim is a record with an answer, so that all of them have arrived.
		if _, err := link.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test", Token: strings.Repeat("\n", 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := link.Err(); err != nil {
		t.Error(err)
	}
}

// A visitor reaches a device whose link goes over a WebSocket.
func TestLinkOverWebSocket(t *testing.T) {
	r := newWSSRelay(t)
	link, err := r.link(nil, framing.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	s, from := r.visitor(link)
	if s.Header().Name != "xyz.relay.test" || s.Header().Source.String() != from {
		t.Errorf("header %+v", s.Header())
	}
	record := make([]byte, 1)
	if _, err := s.Read(record); err != nil || record[0] != 22 {
		t.Errorf("first byte %v, %v", record, err)
	}
}

// Links over WebSockets that are too many are told so in words once a second, and
// by a status otherwise.
func TestLinksOverWebSocketAreLimited(t *testing.T) {
	r := newWSSRelay(t)
	r.srv.SetLimits(limits.Config{Address: limits.Address{Links: 2, LinkRate: limits.Rate{Count: 1, Per: time.Hour}}})
	for range 2 {
		link, err := r.link(nil, framing.Handler{})
		if err != nil {
			t.Fatal(err)
		}
		link.Close()
	}
	_, err := r.link(nil, framing.Handler{})
	busy(t, err, "limits.address.link_rate")
	for range 20 { // of which those are told that come a second later, or more
		tc, err := r.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = framing.DialWebSocket(context.Background(), tc, "relay.test"); err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "429") {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Error("all of them are told in words")
}

// visitor claims a name on link and opens a visitor's connection to it.
func (r *wssRelay) visitor(link *framing.Link) (s *framing.Stream, from string) {
	r.t.Helper()
	if err := claimOver(link, "xyz.relay.test"); err != nil {
		r.t.Fatal(err)
	}
	c, err := r.ln.Dial(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	go tls.Client(c, &tls.Config{ServerName: "xyz.relay.test"}).Handshake() // the hello is enough
	r.t.Cleanup(func() { c.Close() })
	if s, err = link.Accept(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close() })
	return s, c.LocalAddr().String()
}

// claimOver is Link.Claim with the test's patience.
func claimOver(link *framing.Link, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := link.Claim(ctx, framing.Claim{Name: name})
	return err
}

// A proof made for another connection, as a middlebox that ends TLS would pass
// on, gets no link.
func TestWebSocketBadProof(t *testing.T) {
	r := newWSSRelay(t)
	other, err := r.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	cs := other.ConnectionState()
	var refusal *framing.Refusal
	if _, err := r.link(&cs, framing.Handler{}); !errors.As(err, &refusal) || refusal.Code != framing.RefusedProof {
		t.Errorf("got %v", err)
	}
}

// The links over WebSockets are told of a drain and cut by Close, like others.
func TestWebSocketEndsWithRelay(t *testing.T) {
	r := newWSSRelay(t)
	told := make(chan framing.GoAway, 1)
	link, err := r.link(nil, framing.Handler{GoAway: func(g framing.GoAway) { told <- g }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, _ := r.visitor(link)
	down := make(chan error)
	go func() { down <- r.srv.Shutdown(ctx) }()
	if g := <-told; g.Code != framing.GoAwayShutdown {
		t.Errorf("told %+v", g)
	}
	s.Reset()
	if err := <-down; err != nil {
		t.Error(err)
	}
	<-link.Done()

	r = newWSSRelay(t)
	if link, err = r.link(nil, framing.Handler{}); err != nil {
		t.Fatal(err)
	}
	r.srv.Close()
	<-link.Done()

	// One that has not said hello is cut too.
	r = newWSSRelay(t)
	tc, err := r.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := framing.DialWebSocket(ctx, tc, "relay.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r.srv.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("still open")
	}
}

// keystay.json tells of both transports; the path is no page.
func TestWebSocketIsAnnounced(t *testing.T) {
	r := newWSSRelay(t)
	get := func(path string) (status int, body string) {
		tc, err := r.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer tc.Close()
		io.WriteString(tc, "GET "+path+" HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(tc)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		switch {
		case strings.HasPrefix(string(head), "HTTP/1.1 200 "):
			status = http.StatusOK
		case strings.HasPrefix(string(head), "HTTP/1.1 400 "):
			status = http.StatusBadRequest
		}
		return status, string(rest)
	}
	_, body := get("/.well-known/keystay.json")
	var about struct{ Transports []string }
	if err := json.Unmarshal([]byte(body), &about); err != nil || !slices.Equal(about.Transports, []string{"tls", "wss"}) {
		t.Errorf("%s: %v", body, err)
	}
	if status, body := get(framing.WebSocketPath); status != http.StatusBadRequest {
		t.Errorf("%d: %s", status, body)
	}
}

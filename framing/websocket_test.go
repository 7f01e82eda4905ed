package framing_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/internal/testca"
)

// A site is an HTTPS server in memory that takes links over a WebSocket.
type site struct {
	t     testing.TB
	ca    *testca.CA
	ln    *memconn.Listener
	conns chan net.Conn             // upgraded
	tls   chan *tls.ConnectionState // of each, in the same order
}

// siteTimeout is shorter than any link should live.
const siteTimeout = 30 * time.Second

func newSite(t testing.TB) *site {
	s := &site{t: t, ca: testca.New(t), ln: memconn.Listen(nil), conns: make(chan net.Conn, 1), tls: make(chan *tls.ConnectionState, 1)}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != framing.WebSocketPath {
				http.NotFound(w, r)
				return
			}
			if c, err := framing.AcceptWebSocket(w, r); err == nil {
				s.conns <- c
				s.tls <- r.TLS
			}
		}),
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{s.ca.Issue("relay.test")}},
		ReadTimeout:  siteTimeout,
		WriteTimeout: siteTimeout,
		IdleTimeout:  siteTimeout,
	}
	done := make(chan struct{})
	go func() { srv.ServeTLS(s.ln, "", ""); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return s
}

// dial does a TLS handshake with the site.
func (s *site) dial(change func(*tls.Config)) *tls.Conn {
	s.t.Helper()
	c, err := s.ln.Dial(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	config := &tls.Config{ServerName: "relay.test", RootCAs: s.ca.Pool(), NextProtos: []string{"http/1.1"}}
	if change != nil {
		change(config)
	}
	tc := tls.Client(c, config)
	if err := tc.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return tc
}

// pair returns the two ends of a WebSocket.
func (s *site) pair() (client, server net.Conn) {
	s.t.Helper()
	client, err := framing.DialWebSocket(context.Background(), s.dial(nil), "relay.test")
	if err != nil {
		s.t.Fatal(err)
	}
	server = <-s.conns
	<-s.tls
	s.t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// A link over a WebSocket carries streams as one over TLS does, and outlives
// the limits of the HTTP server it began at.
func TestWebSocketLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newSite(t).pair()
		relay, remote := links(t, server, client, framing.Handler{}, framing.Handler{})
		for range 3 {
			v, d := open(t, relay, remote, "first ")
			want := randomBytes(300_000)
			go func() {
				v.Write(want)
				v.CloseWrite()
			}()
			got, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(got, append([]byte("first "), want...)) {
				t.Fatalf("to the device: %d bytes, %v", len(got), err)
			}
			go func() {
				d.Write(want)
				d.Close()
			}()
			if got, err = io.ReadAll(v); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("to the visitor: %d bytes, %v", len(got), err)
			}
			v.Close()
			time.Sleep(4 * siteTimeout)
		}
		settled(t, relay) // and closes it
		<-remote.Done()
		if remote.Err() != io.EOF {
			t.Errorf("an end in good order looks like %v", remote.Err())
		}
	})
}

// A side that vanishes is noticed as on any link.
func TestWebSocketCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newSite(t).pair()
		relay, remote := links(t, server, client, framing.Handler{}, framing.Handler{})
		client.(interface{ NetConn() net.Conn }).NetConn().(*tls.Conn).NetConn().(*memconn.Conn).Cut()
		began := time.Now()
		<-relay.Done()
		<-remote.Done()
		if relay.Err() != framing.ErrSilent || remote.Err() != framing.ErrSilent {
			t.Errorf("%v, %v", relay.Err(), remote.Err())
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("noticed after %v", d)
		}
	})
}

// A peer that stops reading ends the link within WriteTimeout, although its
// answers to pings have another limit.
func TestWebSocketStalledWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newSite(t).pair()
		go io.Copy(io.Discard, client)
		server.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the deadline has passed, and nobody writes
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatalf("a deadline outlived its write: %v", err)
		}
		client.(interface{ NetConn() net.Conn }).NetConn().(*tls.Conn).NetConn().(*memconn.Conn).Cut()
		began := time.Now()
		server.SetWriteDeadline(began.Add(framing.WriteTimeout))
		_, err := server.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != framing.WriteTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The proof of identity is bound to the TLS connection below the WebSocket.
func TestWebSocketProof(t *testing.T) {
	s := newSite(t)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var hellos [2]framing.Hello
	var states [2]*tls.ConnectionState
	for i := range hellos {
		tc := s.dial(nil)
		cs := tc.ConnectionState()
		if err := hellos[i].Sign(key, &cs, "relay.test"); err != nil {
			t.Fatal(err)
		}
		c, err := framing.DialWebSocket(context.Background(), tc, "relay.test")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer (<-s.conns).Close()
		states[i] = <-s.tls
	}
	for i, h := range hellos {
		for j, cs := range states {
			err := h.Verify(cs, "relay.test")
			if i == j && err != nil || i != j && err != framing.ErrProof {
				t.Errorf("the proof of connection %d at connection %d: %v", i, j, err)
			}
		}
	}
}

// What gets no link is told why, in HTTP.
func TestWebSocketRefused(t *testing.T) {
	s := newSite(t)
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	const sub = "Sec-WebSocket-Protocol: keystay.1\r\n"
	tls12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	for _, tt := range []struct {
		name   string
		header string
		change func(*tls.Config)
		want   string
	}{
		{"all is well", upgrade + sub, nil, "101"},
		{"one of several subprotocols", upgrade + "Sec-WebSocket-Protocol: chat, keystay.1\r\n", nil, "101"},
		{"a page of another site", upgrade + sub + "Origin: https://evil.test\r\n", nil, "403"},
		{"a page of this site", upgrade + sub + "Origin: https://relay.test\r\n", nil, "403"},
		{"an opaque page", upgrade + sub + "Origin: null\r\n", nil, "403"},
		{"an empty origin", upgrade + sub + "Origin:\r\n", nil, "403"},
		{"no subprotocol", upgrade, nil, "400"},
		{"another subprotocol", upgrade + "Sec-WebSocket-Protocol: keystay.2\r\n", nil, "400"},
		{"no upgrade", sub, nil, "426"},
		{"TLS 1.2", upgrade + sub, tls12, "400"},
	} {
		tc := s.dial(tt.change)
		io.WriteString(tc, "GET "+framing.WebSocketPath+" HTTP/1.1\r\nHost: relay.test\r\n"+tt.header+"\r\n")
		answer := make([]byte, len("HTTP/1.1 101"))
		if _, err := io.ReadFull(tc, answer); err != nil || !strings.HasSuffix(string(answer), tt.want) {
			t.Errorf("%s: %s, %v", tt.name, answer, err)
		}
		if tt.want == "101" {
			(<-s.conns).Close()
			<-s.tls
		}
		tc.Close()
	}
}

// A server that is no relay, or an older one, gives an *UpgradeError; one that
// leaves the subprotocol out is refused as well.
func TestDialWebSocketRefused(t *testing.T) {
	s := newSite(t)
	for status, answer := range map[int]string{
		404: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		200: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		302: "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n",
	} {
		c, far := tlsPair(t, s.ca)
		go func() {
			far.Read(make([]byte, 4096))
			io.WriteString(far, answer)
		}()
		var upgrade *framing.UpgradeError
		if _, err := framing.DialWebSocket(context.Background(), c, "relay.test"); !errors.As(err, &upgrade) || upgrade.Status != status {
			t.Errorf("%d: %v", status, err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Errorf("%d: the connection is left open", status)
		}
		far.Close()
	}
}

// tlsPair returns the two ends of a TLS connection.
func tlsPair(t testing.TB, ca *testca.CA) (client, server *tls.Conn) {
	a, b := memconn.Pipe(0)
	server = tls.Server(b, &tls.Config{Certificates: []tls.Certificate{ca.Issue("relay.test")}})
	client = tls.Client(a, &tls.Config{ServerName: "relay.test", RootCAs: ca.Pool()})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// raw is a WebSocket to the site whose client is not ours.
func (s *site) raw(pongs *int) (*websocket.Conn, net.Conn) {
	s.t.Helper()
	tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(nil), nil }}
	c, _, err := websocket.Dial(context.Background(), "wss://relay.test"+framing.WebSocketPath, &websocket.DialOptions{
		HTTPClient:     &http.Client{Transport: tr},
		Subprotocols:   []string{framing.WebSocketProtocol},
		OnPongReceived: func(context.Context, []byte) { *pongs++ },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.CloseNow() })
	<-s.tls
	return c, <-s.conns
}

// Messages are put together whatever their length; a text is none of ours; a
// Close frame is an end in good order.
func TestWebSocketMessages(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	c, far := s.raw(new(int))
	want := randomBytes(200_000)
	go func() {
		c.Write(ctx, websocket.MessageBinary, nil)
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 100_000)
			c.Write(ctx, websocket.MessageBinary, rest[:n])
			rest = rest[n:]
		}
		w, _ := c.Writer(ctx, websocket.MessageBinary) // in fragments
		w.Write([]byte("a"))
		w.Write(nil)
		w.Write([]byte("b"))
		w.Close()
		c.Close(websocket.StatusNormalClosure, "")
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, append(want, "ab"...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	far.Close()

	c, far = s.raw(new(int))
	go c.Write(ctx, websocket.MessageText, []byte("x"))
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, framing.ErrProtocol) {
		t.Errorf("a text: %v", err)
	}
	far.Close()

	c, far = s.raw(new(int))
	go c.Close(websocket.StatusInternalError, "x")
	if _, err := far.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("an end that is not in good order: %v", err)
	}
	far.Close()
}

// A flood of pings is answered once in PongInterval.
func TestWebSocketPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pongs int
		c, far := newSite(t).raw(&pongs)
		go io.Copy(io.Discard, far)
		ended := make(chan struct{})
		go func() { c.Reader(context.Background()); close(ended) }()
		for range 3 {
			for range 100 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
				go func() { c.Ping(ctx); cancel() }()
				<-ctx.Done()
			}
			time.Sleep(framing.PongInterval)
		}
		far.Close()
		<-ended
		if pongs != 3 {
			t.Errorf("%d answers in 3 intervals", pongs)
		}
	})
}

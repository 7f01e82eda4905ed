package remote_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"keystay/framing"
	"keystay/internal/testnet"
	"keystay/internal/unheard"
	"keystay/remote/publish"
	tcp "keystay/remote/publish/raw"
)

// A book is a log that is kept.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) has(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), s)
}

// Whatever a visitor sends that is no data, TLS on the device keeps little of it: a
// message of a handshake that goes on for ever ends the visitor's connection, in the
// handshake and after it, over HTTP/1.1 and HTTP/2.
func TestEndlessHandshakeMessageEndsTheVisitorsConnection(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	u, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	target := &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}
	log := &book{}
	r := newRelay(t)
	config := r.config()
	config.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ln := r.listen(config)
	srv := target.Server(domain)
	srv.ReadHeaderTimeout = 0 // so that nothing else ends a connection
	go srv.Serve(publish.Visitors(ln))
	defer srv.Close()
	link := r.next()
	for _, proto := range []string{"http/1.1", "h2"} {
		for _, shakes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, in the handshake: %v", proto, shakes), func(t *testing.T) {
				stream := link.open(domain, framing.KindTLS)
				conn := &testnet.RecordConn{Conn: stream, Handshakes: shakes}
				tc := tls.Client(conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain, NextProtos: []string{proto}, KeyLogWriter: &conn.Keys})
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
				if proto == "h2" && !shakes { // else HTTP/2 itself would end it
					io.WriteString(tc, http2.ClientPreface)
					http2.NewFramer(tc, nil).WriteSettings()
				}
				go stream.Write(conn.Endless(t, 250<<10))
				if _, err := io.Copy(io.Discard, stream); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection stays")
				}
				if shakes && !log.has(unheard.Err.Error()) {
					t.Error("the handshake ends for another reason")
				}
			})
		}
	}
}

// So it does where the bytes inside of a visitor's TLS go to a service as they are.
func TestEndlessHandshakeMessageEndsTheConnectionOfRawBytes(t *testing.T) {
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer testnet.Accept(service, func(c net.Conn) { io.Copy(io.Discard, c) })()
	r := newRelay(t)
	target := &tcp.Target{Network: "tcp", Addresses: []string{service.Addr().String()}}
	go target.Serve(r.listen(r.config()))
	defer target.Close()
	stream := r.next().open(domain, framing.KindTLS)
	conn := &testnet.RecordConn{Conn: stream}
	tc := tls.Client(conn, &tls.Config{RootCAs: r.ca.Pool(), ServerName: domain, KeyLogWriter: &conn.Keys})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // what is data may go on
		tc.Write(make([]byte, 40<<10))
	}
	go stream.Write(conn.Endless(t, 100<<10))
	if _, err := io.Copy(io.Discard, stream); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays")
	}
}

package publish_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	_ "keystay/internal/xconnect"
	"keystay/remote/publish"
)

const (
	zone   = "relay.test"
	domain = "xyz.relay.test"
	// patience bounds what waits for the network in a test that fails.
	patience = time.Minute
)

var visitorAddr = &net.TCPAddr{IP: net.IPv4(8, 8, 4, 4), Port: 4711}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testnet.Lingering()) }

// A stream is a visitor's connection below TLS. As that of package remote does,
// it takes every end for a truncation, which it is without a close_notify.
type stream struct {
	*memconn.Conn
	cork *cork
}

// A cork is what a stream keeps back, as that of package remote does.
type cork struct {
	mu   sync.Mutex
	held []byte // nil while nothing is kept
	most int    // that has gone at once
}

// Write is the connection's, but between Cork and Uncork.
func (s stream) Write(p []byte) (int, error) {
	s.cork.mu.Lock()
	defer s.cork.mu.Unlock()
	if s.cork.held != nil {
		s.cork.held = append(s.cork.held, p...)
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// Cork keeps what is written until Uncork.
func (s stream) Cork(space []byte) {
	s.cork.mu.Lock()
	defer s.cork.mu.Unlock()
	s.cork.held = space[:0]
}

// Uncork writes it.
func (s stream) Uncork() error {
	s.cork.mu.Lock()
	defer s.cork.mu.Unlock()
	held := s.cork.held
	s.cork.held, s.cork.most = nil, max(s.cork.most, len(held))
	_, err := s.Conn.Write(held)
	return err
}

// Read is the connection's but for the error.
func (s stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF {
		err = fmt.Errorf("no close_notify: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

// A tlsListener ends TLS over the connections of a memconn.Listener.
type tlsListener struct {
	*memconn.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tc := tls.Server(stream{c.(*memconn.Conn), new(cork)}, l.config)
	tc.Handshake() // Visitors asks for it; an error comes again
	return tc, nil
}

// A published service is a local service behind a Target, with the way for
// visitors.
type published struct {
	t   testing.TB
	ca  *testca.CA
	ln  *memconn.Listener
	srv *http.Server
}

// serveTarget puts a Target on a name.
func serveTarget(t testing.TB, target *publish.Target) *published {
	t.Helper()
	return serve(t, target.Server(domain))
}

// serve lets a server answer for a name.
func serve(t testing.TB, srv *http.Server) *published {
	t.Helper()
	p := &published{t, testca.New(t), memconn.Listen(nil), srv}
	config := &tls.Config{Certificates: []tls.Certificate{p.ca.Issue(domain)}, NextProtos: []string{"h2", "http/1.1"}}
	done := make(chan struct{})
	go func() { p.srv.Serve(publish.Visitors(tlsListener{p.ln, config})); close(done) }()
	t.Cleanup(func() { p.srv.Close(); <-done })
	return p
}

// visitor is a visitor after its TLS handshake.
func (p *published) visitor(protos ...string) *tls.Conn {
	p.t.Helper()
	return p.visitorOver(func(c net.Conn) net.Conn { return c }, protos...)
}

// visitorOver is visitor with something around its connection.
func (p *published) visitorOver(around func(net.Conn) net.Conn, protos ...string) *tls.Conn {
	p.t.Helper()
	tc, err := p.dial(around, protos...)
	if err != nil {
		p.t.Fatal(err)
	}
	return tc
}

// dial is visitorOver for goroutines that may outlive the test.
func (p *published) dial(around func(net.Conn) net.Conn, protos ...string) (*tls.Conn, error) {
	c, err := p.ln.DialFrom(context.Background(), visitorAddr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { c.Close() })
	tc := tls.Client(around(c), &tls.Config{RootCAs: p.ca.Pool(), ServerName: domain, NextProtos: protos})
	return tc, tc.Handshake()
}

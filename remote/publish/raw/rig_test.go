package raw_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish/raw"
)

const (
	domain = "db.relay.test"
	// patience bounds what waits for the network in a test that fails.
	patience = time.Minute
)

var visitorAddr = &net.TCPAddr{IP: net.IPv4(8, 8, 4, 4), Port: 4711}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stream is a visitor's connection below TLS. As that of package remote does,
// it takes every end for a truncation, which it is without a close_notify.
type stream struct{ *memconn.Conn }

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
	return tls.Server(stream{c.(*memconn.Conn)}, l.config), nil
}

// A published target has the way for visitors.
type published struct {
	t      testing.TB
	target *raw.Target
	ca     *testca.CA
	ln     *memconn.Listener
	served chan error // what Serve has returned
}

// publish puts a target on a name.
func publish(t testing.TB, target *raw.Target) *published {
	t.Helper()
	p := &published{t, target, testca.New(t), memconn.Listen(nil), make(chan error, 1)}
	var ln net.Listener = p.ln
	if !target.TLS {
		ln = tlsListener{p.ln, p.config()}
	}
	done := make(chan struct{})
	go func() { p.served <- target.Serve(ln); close(done) }()
	t.Cleanup(func() { target.Close(); <-done })
	return p
}

// config is that of whoever ends TLS for the name.
func (p *published) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.ca.Issue(domain)}, NextProtos: []string{"postgresql", "mqtt"}}
}

// dial is a visitor's connection below its TLS.
func (p *published) dial() *memconn.Conn {
	p.t.Helper()
	c, err := p.ln.DialFrom(context.Background(), visitorAddr)
	if err != nil {
		p.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { c.Close() })
	return c
}

// visitor is a visitor after its TLS handshake, and its connection below.
func (p *published) visitor(protocols ...string) (*tls.Conn, *memconn.Conn) {
	p.t.Helper()
	c := p.dial()
	tc := tls.Client(stream{c}, &tls.Config{RootCAs: p.ca.Pool(), ServerName: domain, NextProtos: protocols})
	if err := tc.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	return tc, c
}

// tcpTarget is a target with a service that serves each connection so.
func tcpTarget(t testing.TB, serve func(*net.TCPConn)) *raw.Target {
	addr := testnet.Serve(t, func(c net.Conn) {
		c.SetDeadline(time.Now().Add(patience))
		serve(c.(*net.TCPConn))
	})
	return &raw.Target{Network: "tcp", Addresses: []string{addr.String()}}
}

// downTarget is a target whose service is down.
func downTarget(t testing.TB) *raw.Target {
	t.Helper()
	return &raw.Target{Network: "tcp", Addresses: []string{testnet.Reserve(t).String()}}
}

// A logbook is a log that tests read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/remote"
)

// The tests of this file's helpers run the whole path in this process: visitor,
// relay, link, remote, local service, each over TCP on loopback.

const pathZone = "relay.test"

// soaking reports whether tests should run for long.
func soaking() bool { return os.Getenv("KEYSTAY_SOAK") != "" }

// A pathRelay is a relay in this process.
type pathRelay struct {
	t    testing.TB
	ca   *testca.CA
	srv  *relay.Server
	addr string
	log  pathLog
	set  func(*relay.Server) // what is not as usual; may be nil
	stop func()
}

// startPathRelay starts a relay that ends with the test.
func startPathRelay(t testing.TB) *pathRelay { return startPathRelayWith(t, nil) }

// startPathRelayWith is startPathRelay with what set sets; it may be nil.
func startPathRelayWith(t testing.TB, set func(*relay.Server)) *pathRelay {
	t.Helper()
	r := &pathRelay{t: t, ca: testca.New(t), set: set}
	r.start("127.0.0.1:0", t.TempDir())
	t.Cleanup(func() { r.stop() })
	return r
}

// start starts it at an address, with the names kept in dir.
func (r *pathRelay) start(addr, dir string) {
	r.t.Helper()
	grants, err := names.OpenGrants(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.srv = &relay.Server{
		Domain: pathZone,
		TLS:    &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(pathZone)}},
		Names:  &names.Names{Grants: grants},
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	if r.set != nil {
		r.set(r.srv)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	srv := r.srv
	go func() { served <- srv.Serve(ln) }()
	r.stop = sync.OnceFunc(func() {
		srv.Close()
		<-served
		grants.Close()
	})
}

// pathLog is a log that may be read meanwhile.
type pathLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *pathLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// count says how often s was logged.
func (l *pathLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

// last is the last line with s in it.
func (l *pathLog) last(s string) (line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range strings.Split(l.buf.String(), "\n") {
		if strings.Contains(at, s) {
			line = at
		}
	}
	return line
}

// serve serves a name below the relay's with a remote that dials via, or the
// relay itself when that is "". handle gets each visitor and closes it.
func (r *pathRelay) serve(name, via string, handle func(*tls.Conn)) *remote.Listener {
	r.t.Helper()
	return r.serveWith(remote.Config{}, name, via, handle)
}

// serveWith is serve with what is set in c.
func (r *pathRelay) serveWith(c remote.Config, name, via string, handle func(*tls.Conn)) *remote.Listener {
	r.t.Helper()
	if via == "" {
		via = r.addr
	}
	c.Domain = name
	c.Relays, c.RelayAddresses, c.RelayRoots = []string{pathZone}, []string{via}, r.ca.Pool()
	c.TLS = &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(name)}}
	if c.StateDir == "" {
		c.StateDir = r.t.TempDir()
	}
	ln, err := remote.Listen(c)
	if err != nil {
		r.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { handle(c.(*tls.Conn)) })
		}
	})
	r.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ln.Shutdown(ctx)
		wg.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	if err := ln.Wait(ctx); err != nil {
		r.t.Fatal(err)
	}
	return ln
}

// visit opens a visitor's connection to a name, via an address, or the relay
// itself when that is "". The handshake is done.
func (r *pathRelay) visit(name, via string) (*tls.Conn, *net.TCPConn, error) {
	if via == "" {
		via = r.addr
	}
	raw, err := net.DialTimeout("tcp", via, world.Patience)
	if err != nil {
		return nil, nil, err
	}
	c := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: r.ca.Pool()})
	c.SetDeadline(time.Now().Add(2 * world.Patience))
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return c, raw.(*net.TCPConn), nil
}

// mirror sends back what it gets.
func mirror(c *tls.Conn) {
	io.Copy(c, c)
	c.Close()
}

package world

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"keystay/internal/testca"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/remote"
)

// Zone is the name of the relays here, below which they give names out.
const Zone = "relay.test"

// A Relay is a relay in the test's own process. Its fields are set before Start.
type Relay struct {
	CA  *testca.CA
	Set func(*relay.Server) // what is not as usual; may be nil

	Server *relay.Server // of the last Start
	Addr   string        // its first address
	Addrs  []string      // all of them
	Log    Transcript    // of all that were started

	t    testing.TB
	stop func()
}

// StartRelay starts a relay on loopback, with a CA of its own, that ends with the
// test.
func StartRelay(t testing.TB) *Relay {
	t.Helper()
	return StartRelayWith(t, testca.New(t), nil)
}

// StartRelayWith is StartRelay with that CA, and with what set sets, which may be
// nil. It listens on the addresses, or on one that is free.
func StartRelayWith(t testing.TB, ca *testca.CA, set func(*relay.Server), listen ...string) *Relay {
	t.Helper()
	r := &Relay{CA: ca, Set: set, t: t}
	r.Start(t.TempDir(), listen...)
	t.Cleanup(func() { r.Stop() })
	return r
}

// Start starts the relay at addresses, with the names kept in dir.
func (r *Relay) Start(dir string, listen ...string) {
	r.t.Helper()
	grants, err := names.OpenGrants(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	srv := &relay.Server{
		Domain: Zone,
		TLS:    &tls.Config{Certificates: []tls.Certificate{r.CA.Issue(Zone)}},
		Names:  &names.Names{Grants: grants},
		Logger: slog.New(slog.NewTextHandler(&r.Log, nil)),
	}
	if r.Set != nil {
		r.Set(srv)
	}
	if len(listen) == 0 {
		listen = []string{"127.0.0.1:0"}
	}
	r.Server, r.Addrs = srv, nil
	var wg sync.WaitGroup
	for _, addr := range listen {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			r.t.Fatal(err)
		}
		r.Addrs = append(r.Addrs, ln.Addr().String())
		wg.Go(func() { srv.Serve(ln) })
	}
	r.Addr = r.Addrs[0]
	r.stop = sync.OnceFunc(func() {
		srv.Close()
		wg.Wait()
		grants.Close()
		if n := srv.Status().Panics; n != 0 {
			r.t.Errorf("the relay has caught %d mistakes of its own:\n%s", n, r.Log.String())
		}
	})
}

// Stop ends the relay at once. It may be started again.
func (r *Relay) Stop() { r.stop() }

// Serve serves a name below the relay's with a remote that dials via, or the relay
// itself when that is "". The function handle gets each visitor and closes it.
func (r *Relay) Serve(name, via string, handle func(*tls.Conn)) *remote.Listener {
	r.t.Helper()
	return r.ServeWith(remote.Config{}, name, via, handle)
}

// ServeWith is Serve with what is set in c.
func (r *Relay) ServeWith(c remote.Config, name, via string, handle func(*tls.Conn)) *remote.Listener {
	r.t.Helper()
	if via == "" {
		via = r.Addr
	}
	c.Domain = name
	c.Relays, c.RelayAddresses, c.RelayRoots = []string{Zone}, []string{via}, r.CA.Pool()
	c.TLS = &tls.Config{Certificates: []tls.Certificate{r.CA.Issue(name)}}
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
		StopNow(ln)
		wg.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := ln.Wait(ctx); err != nil {
		r.t.Fatal(err)
	}
	return ln
}

// Visit opens a visitor's connection to a name, via an address, or the relay
// itself when that is "". The handshake is done.
func (r *Relay) Visit(name, via string) (*tls.Conn, *net.TCPConn, error) {
	if via == "" {
		via = r.Addr
	}
	raw, err := net.DialTimeout("tcp", via, Patience)
	if err != nil {
		return nil, nil, err
	}
	c := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: r.CA.Pool()})
	c.SetDeadline(time.Now().Add(2 * Patience))
	if err := c.Handshake(); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return c, raw.(*net.TCPConn), nil
}

// StopNow ends a listener and its visitors at once.
func StopNow(ln *remote.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ln.Shutdown(ctx)
}

// Mirror sends back what it gets, and closes the connection at its end.
func Mirror(c *tls.Conn) {
	io.Copy(c, c)
	c.Close()
}

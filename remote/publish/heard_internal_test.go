package publish

import (
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"keystay/internal/memconn"
	"keystay/internal/testca"
)

// One is a listener of one connection.
type one struct {
	net.Listener
	c chan net.Conn
}

// Accept implements net.Listener.
func (l one) Accept() (net.Conn, error) {
	if c, ok := <-l.c; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// A visitor over HTTP/2 that takes nothing is heard no further than some bytes, also
// where it takes a little now and then: what it sends has to be answered, and the
// answers are kept. Once it takes what there is for it, it is heard again.
func TestVisitorThatTakesNothingIsNotHeard(t *testing.T) {
	// Package net/http may read on for as long as a write that it has begun gets no processor.
	// With one, each write is soon under way, as the bound wants it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ca := testca.New(t)
	synctest.Test(t, func(t *testing.T) {
		const buffer = 4 << 10
		below, above := memconn.Pipe(buffer)
		target := &Target{URL: &url.URL{Scheme: "http", Host: "local.test"}}
		srv := target.Server("xyz.relay.test")
		tc := tls.Server(above, &tls.Config{Certificates: []tls.Certificate{ca.Issue("xyz.relay.test")}, NextProtos: []string{"h2"}})
		go tc.Handshake()
		visitor := tls.Client(below, &tls.Config{RootCAs: ca.Pool(), ServerName: "xyz.relay.test", NextProtos: []string{"h2"}})
		if err := visitor.Handshake(); err != nil {
			t.Fatal(err)
		}
		ln := one{memconn.Listen(nil), make(chan net.Conn, 1)}
		ln.c <- tc
		go srv.Serve(Visitors(ln))
		io.WriteString(visitor, http2.ClientPreface)
		fr := http2.NewFramer(visitor, visitor)
		fr.WriteSettings()
		const ping, pings = 9 + 8, 20_000
		var sent atomic.Int64
		go func() {
			for range pings {
				if fr.WritePing(false, [8]byte{}) != nil {
					return
				}
				sent.Add(ping)
			}
		}()
		taken := 0 // bytes of answers
		take := func(n int) {
			for n > 0 {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatalf("after %d of %d answers: %v", taken/ping, pings, err)
				}
				if _, ok := f.(*http2.PingFrame); ok {
					n--
					taken += ping
				}
			}
		}
		for range 20 {
			synctest.Wait()
			// Beside what is ahead there is what is on its way, either way.
			if ahead := int(sent.Load()) - taken; ahead < maxAhead || ahead > maxAhead+4*buffer {
				t.Errorf("%d bytes are heard of a visitor that takes nothing, or a little, want some %d", ahead, maxAhead)
			}
			take(100)
		}
		take(pings - taken/ping)
		close(ln.c)
		visitor.Close()
		srv.Close()
		synctest.Wait()
	})
}

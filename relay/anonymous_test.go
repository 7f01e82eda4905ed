package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

// tls dials the relay's own name.
func (r *rig) tls(protos ...string) *tls.Conn {
	r.t.Helper()
	tc := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: protos})
	if err := tc.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return tc
}

// withinBudget checks what connections without an owner have held, at most.
func (r *rig) withinBudget() {
	r.t.Helper()
	used, peak, limit := r.srv.UnfinishedMemory()
	if peak > limit || used < limit/2 {
		r.t.Errorf("connections without an owner hold %d of %d, at most %d", used, limit, peak)
	}
}

// letIn checks that an honest browser and an honest remote find room.
func (r *rig) letIn() {
	r.t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return r.dial(), nil }, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("https://" + zone + "/")
	if err != nil {
		r.t.Fatalf("a browser: %v", err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		r.t.Errorf("a browser: %s", resp.Status)
	}
	r.device(newIdentity(r.t), "honest.relay.test").echo("honest")
	r.reaches("honest.relay.test", "honest")
}

// nothingHeld closes the connections and checks that nothing is counted any more.
func (r *rig) nothingHeld(conns []io.Closer) {
	r.t.Helper()
	for _, c := range conns {
		c.Close()
	}
	r.close()
	synctest.Wait()
	if used, _, _ := r.srv.UnfinishedMemory(); used != 0 {
		r.t.Errorf("%d bytes are left", used)
	}
}

// Connections for the relay's own name on which nobody has proved anything hold no
// more than their part of the memory, whatever their protocol and however long
// they stay; an honest browser and an honest remote get in meanwhile.
func TestConnectionsThatProveNothingStayWithinTheBudget(t *testing.T) {
	for name, open := range map[string]func(*rig) io.Closer{
		"links before HELLO": func(r *rig) io.Closer { return r.tls(framing.Protocol) },
		"lanes before JOIN":  func(r *rig) io.Closer { return r.tls(framing.LaneProtocol) },
		"WebSockets before HELLO": func(r *rig) io.Closer {
			tc := r.tls("http/1.1")
			io.WriteString(tc, "GET "+framing.WebSocketPath+" HTTP/1.1\r\nHost: "+zone+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "+framing.WebSocketProtocol+"\r\n\r\n")
			return tc
		},
		"requests that are not whole": func(r *rig) io.Closer {
			tc := r.tls("http/1.1")
			io.WriteString(tc, "GET / HTTP/1.1\r\nHost: "+zone+"\r\nX: "+strings.Repeat("x", 7<<10))
			return tc
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, smallMemory)
				_, _, limit := r.srv.UnfinishedMemory()
				var hostile []io.Closer
				for range limit/(20<<10) + 50 {
					hostile = append(hostile, open(r))
					synctest.Wait()
				}
				r.withinBudget()
				r.letIn()
				r.withinBudget()
				r.nothingHeld(hostile)
			})
		})
	}
}

// A crowded connection calls f before each of its first reads and after each of its
// first writes: those of the TLS handshake, and one or two more.
type crowded struct {
	conn
	left *int
	f    func()
}

func (c crowded) step() {
	if *c.left > 0 {
		*c.left--
		c.f()
	}
}

// Read implements io.Reader.
func (c crowded) Read(p []byte) (int, error) { c.step(); return c.conn.Read(p) }

// Write implements io.Writer.
func (c crowded) Write(p []byte) (int, error) { defer c.step(); return c.conn.Write(p) }

// Connections on which nothing comes, or a part of a hello, keep no remote, no
// browser and no CA away, though each of them holds less than these.
func TestIdleConnectionsKeepNoLinkAway(t *testing.T) {
	for name, part := range map[string]int{"silent": 0, "part of a hello": 20 << 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, smallMemory)
				ln := memconn.Listen(nil)
				var wg sync.WaitGroup
				wg.Go(func() { r.srv.ServeHTTP01(ln) })
				hello := largeHello(t, zone)[:part]
				_, _, limit := r.srv.UnfinishedMemory()
				var hostile []io.Closer
				dial := r.dial
				one := func() {
					c := dial()
					hostile = append(hostile, c)
					c.Write(hello)
					synctest.Wait()
				}
				for range limit / (relay.UnfinishedBase + 4<<10) {
					one()
				}
				r.withinBudget()
				r.dial = func() conn { left := 5; return crowded{dial(), &left, one} }
				r.device(newIdentity(t), "honest.relay.test")
				plain, err := ln.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for what, c := range map[string]net.Conn{"a browser": r.tls("http/1.1"), "port 80": plain} {
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+zone+"\r\n")
					one()
					io.WriteString(c, "Connection: close\r\n\r\n")
					if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode >= 400 {
						t.Errorf("%s: %v, %v", what, resp, err)
					}
					hostile = append(hostile, c)
				}
				r.withinBudget()
				r.nothingHeld(hostile)
				wg.Wait()
			})
		})
	}
}

// The relay's site speaks HTTP/1.1 with those that can speak HTTP/2, too: an HTTP/2
// connection would hold a megabyte.
func TestSiteSpeaksNoHTTP2(t *testing.T) {
	r := newRig(t, nil)
	tc := r.tls("h2", "http/1.1")
	defer tc.Close()
	if p := tc.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("it speaks %q", p)
	}
	if err := tls.Client(r.dial(), &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{"h2"}}).Handshake(); err == nil {
		t.Error("a client that speaks HTTP/2 alone is let in")
	}
}

// The heads of requests to the relay's site are short.
func TestSiteLimitsHeads(t *testing.T) {
	r := newRig(t, nil)
	resp := r.longHead(9 << 10)
	if resp.StatusCode != 200 { // the library reads 4 KiB more than it is told
		t.Errorf("a head of 9 KiB: %s", resp.Status)
	}
	if resp = r.longHead(13 << 10); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of 13 KiB: %s", resp.Status)
	}
}

// longHead asks for the relay's page with a field of n bytes.
func (r *rig) longHead(n int) *http.Response {
	r.t.Helper()
	c := r.tls("http/1.1")
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+zone+"\r\nX: "+strings.Repeat("x", n)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// Connections to port 80 and to the admin address hold no more than that part of
// the memory either, and who comes later is served.
func TestPlainConnectionsStayWithinTheBudget(t *testing.T) {
	for name, path := range map[string]string{"port 80": "/", "admin": "/healthz"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, smallMemory)
				r.device(newIdentity(t), "a.relay.test")
				ln := memconn.Listen(nil)
				var wg sync.WaitGroup
				wg.Go(func() {
					if name == "admin" {
						r.srv.ServeAdmin(ln, func() error { return nil })
						return
					}
					r.srv.ServeHTTP01(ln)
				})
				dial := func() conn {
					c, err := ln.Dial(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				var hostile []io.Closer
				for range 200 {
					c := dial()
					hostile = append(hostile, c)
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.relay.test\r\nX: "+strings.Repeat("x", 7<<10))
					synctest.Wait()
				}
				r.withinBudget()
				c := dial()
				io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a.relay.test\r\nConnection: close\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || resp.StatusCode >= 400 {
					t.Errorf("an honest request: %v, %v", resp, err)
				}
				time.Sleep(time.Second)
				r.withinBudget()
				r.nothingHeld(append(hostile, c))
				wg.Wait()
			})
		})
	}
}

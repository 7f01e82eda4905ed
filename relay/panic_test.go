package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

// secret is what a visitor has sent, and a mistake has in its hands.
const secret = "visitors-secret"

// A faulty connection panics in the Read after as many as it lets pass, when it is
// armed.
type faulty struct {
	*memconn.Conn
	passes *atomic.Int64
}

func (c faulty) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.passes.Add(-1) == -1 {
		panic(secret)
	}
	return n, err
}

// faultyListener makes the connections of a relay faulty.
type faultyListener struct {
	net.Listener
	passes *atomic.Int64
}

func (l faultyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return faulty{c.(*memconn.Conn), l.passes}, nil
}

// A mistake in the program ends the connection that came upon it, with a reset; it
// is counted, and logged once without anything of the visitor; and everybody else is
// served as before, with nothing left behind.
func TestPanicEndsOneConnection(t *testing.T) {
	for name, cause := range map[string]func(*rig, *atomic.Int64) error{
		"while a hello is read": func(r *rig, passes *atomic.Int64) error {
			c := r.dial()
			passes.Store(0)
			c.Write(helloFor(r.t, "a.relay.test"))
			_, err := c.Read(make([]byte, 1))
			return err
		},
		"while a visitor's bytes are copied": func(r *rig, passes *atomic.Int64) error {
			c := r.dial()
			c.Write(helloFor(r.t, "a.relay.test"))
			io.ReadFull(c, make([]byte, 2))
			synctest.Wait()
			passes.Store(0)
			c.Write([]byte("more"))
			_, err := io.Copy(io.Discard, c)
			return err
		},
		"in a handshake for the relay's own name": func(r *rig, passes *atomic.Int64) error {
			c := r.dial()
			passes.Store(1)
			tc := tls.Client(c, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone})
			if err := tc.Handshake(); err != nil {
				return err
			}
			_, err := tc.Read(make([]byte, 1))
			return err
		},
		"while a link is read": func(r *rig, passes *atomic.Int64) error {
			id := newIdentity(r.t)
			d := r.device(id, id.label())
			synctest.Wait()
			passes.Store(0)
			d.Revoke(framing.Denial{Name: id.label()}) // any record
			<-d.Done()
			if d.Err() == io.EOF {
				return errors.New("the link ended in good order")
			}
			return nil
		},
		"in a request for a challenge": func(r *rig, passes *atomic.Int64) error {
			ln := memconn.Listen(nil)
			go r.srv.ServeHTTP01(ln)
			c, err := ln.Dial(context.Background())
			if err != nil {
				return err
			}
			io.WriteString(c, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: relay.test\r\n\r\n")
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			c.Close()
			if err == nil {
				return errors.New("it was answered")
			}
			return nil
		},
		"on the admin address": func(r *rig, passes *atomic.Int64) error {
			ln := memconn.Listen(nil)
			go r.srv.ServeAdmin(ln, func() error { panic(secret) })
			c, err := ln.Dial(context.Background())
			if err != nil {
				return err
			}
			io.WriteString(c, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			c.Close()
			if err == nil {
				return errors.New("it was answered")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var passes atomic.Int64
				passes.Store(1 << 40)
				r := newServer(t, func(s *relay.Server) {
					s.Challenge = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(fmt.Errorf("%s", secret)) })
				})
				r.mem = memconn.Listen(nil)
				r.dial = func() conn {
					c, err := r.mem.Dial(context.Background())
					if err != nil {
						panic(err)
					}
					t.Cleanup(func() { c.Close() })
					return c
				}
				r.serve(faultyListener{r.mem, &passes})
				r.device(newIdentity(t), "a.relay.test").echo("a")
				for i := range int64(2) {
					err := cause(r, &passes)
					passes.Store(1 << 40)
					if strings.Contains(name, "while a hello") || strings.Contains(name, "copied") || strings.Contains(name, "handshake") {
						if err == nil || !strings.Contains(err.Error(), "reset") {
							t.Errorf("the peer saw %v", err)
						}
					} else if err != nil {
						t.Error(err)
					}
					synctest.Wait()
					r.panics = i + 1
					if n := r.srv.Panics(); n != r.panics {
						t.Fatalf("%d panics are counted", n)
					}
				}
				r.reaches("a.relay.test", "a")
				time.Sleep(time.Minute)
				if log := r.log.String(); strings.Count(log, "level=ERROR") != 1 || strings.Contains(log, secret) || !strings.Contains(log, "panic_test.go") && !strings.Contains(log, "relay_test") {
					t.Errorf("the log:\n%s", log)
				}
				if n, s := r.srv.Routing(), r.srv.Streams(); n+s != 0 {
					t.Errorf("%d connections and %d streams are left", n, s)
				}
				if n := r.srv.Connections(); n != 1 {
					t.Errorf("%d connections are left, with the device's", n)
				}
				r.close()
				if used, _, _ := r.srv.UnfinishedMemory(); used != 0 {
					t.Errorf("%d bytes are left", used)
				}
				if used, _, _ := r.srv.LinkMemory(); used != 0 {
					t.Errorf("%d bytes of links are left", used)
				}
			})
		})
	}
}

package relay

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/memconn"
	"keystay/internal/testca"
)

// oneAtATime is for handshakes that have one place.
func oneAtATime() *handshakes {
	h := newHandshakes()
	h.free = 1
	return h
}

// from is a connection from an address.
func from(addr string) net.Conn {
	a, b := memconn.Pipe(0)
	a.SetAddrs(b.LocalAddr(), &net.TCPAddr{IP: net.ParseIP(addr), Port: 1})
	return a
}

// Networks take turns: one that sends very many hellos does not keep another one
// waiting for more than one of its own, and where the queue is full the others still
// find a place.
func TestNetworksTakeTurnsAtHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime()
		leave, err := h.enter(t.Context(), from("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan string, 2*maxHandshakesWaiting)
		ask := func(addr string) {
			go func() {
				if leave, err := h.enter(t.Context(), from(addr)); err == nil {
					served <- addr
					leave()
				}
			}()
			synctest.Wait()
		}
		for i := range maxHandshakesWaiting + 10 {
			ask(fmt.Sprintf("198.51.100.%d", i%256))
		}
		ask("203.0.113.1")
		ask("2001:db8::1")
		ask("2001:db8:0:ffff::1") // the same network
		leave()
		synctest.Wait()
		close(served)
		var order []string
		for addr := range served {
			order = append(order, addr)
		}
		if len(order) != maxHandshakesWaiting {
			t.Errorf("%d were served", len(order))
		}
		for addr, place := range map[string]int{"203.0.113.1": 1, "2001:db8::1": 2, "2001:db8:0:ffff::1": 4} {
			if i := slices.Index(order, addr); i != place {
				t.Errorf("%s was served after %d others, want %d", addr, i, place)
			}
		}
		if h.free != 1 || h.sizes.sum != 0 || h.turns.Len() != 0 || len(h.waiting) != 0 {
			t.Errorf("%d places; left: %d", h.free, h.sizes.sum)
		}
	})
}

// Who has left while waiting for a turn is noticed.
func TestHandshakesNoticeWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime()
		leave, _ := h.enter(t.Context(), from("192.0.2.1"))
		a, b := memconn.Pipe(0)
		start := time.Now()
		time.AfterFunc(time.Second/2, func() { b.Close() })
		if _, err := h.enter(t.Context(), a); !errors.Is(err, errVisitorLeft) || time.Since(start) > watchInterval {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		leave()
		if h.free != 1 || h.turns.Len() != 0 {
			t.Errorf("%d places are free", h.free)
		}
	})
}

func TestHandshakesAreFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime()
		var mu sync.Mutex
		var order []int
		for i := range 10 {
			go func() {
				leave, err := h.enter(t.Context(), from("192.0.2.1"))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				<-time.After(time.Second)
				leave()
				leave() // does nothing
			}()
			synctest.Wait() // they come one after the other
		}
		start := time.Now()
		<-time.After(9500 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("served %v after %v, want all ten in order and one a second", order, time.Since(start))
		}
		<-time.After(time.Second)
	})
}

func TestHandshakesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := oneAtATime()
		leave, err := h.enter(t.Context(), from("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		var gaveUp atomic.Int64
		for range maxHandshakesWaiting {
			go func() {
				if _, err := h.enter(t.Context(), from("192.0.2.1")); errors.Is(err, errBusy) {
					gaveUp.Add(1)
				}
			}()
		}
		synctest.Wait()
		if _, err := h.enter(t.Context(), from("192.0.2.1")); !errors.Is(err, errBusy) {
			t.Errorf("beyond the queue: %v, want errBusy", err)
		}
		<-time.After(handshakeWait)
		synctest.Wait()
		if n := gaveUp.Load(); n != maxHandshakesWaiting {
			t.Errorf("%d of %d gave up waiting", n, maxHandshakesWaiting)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := h.enter(ctx, from("192.0.2.1")); !errors.Is(err, context.Canceled) {
			t.Errorf("wait whose context ends: %v", err)
		}
		leave()
		if leave, err = h.enter(t.Context(), from("192.0.2.1")); err != nil {
			t.Errorf("with a free place: %v", err)
		}
		leave()
	})
}

// spySigner calls look before it signs.
type spySigner struct {
	crypto.Signer
	look func()
}

func (s spySigner) Sign(r io.Reader, d []byte, o crypto.SignerOpts) ([]byte, error) {
	s.look()
	return s.Signer.Sign(r, d, o)
}

// A second is a connection of which the second Write is noticed before it is made.
type second struct {
	net.Conn
	writes int
	before func()
}

func (c *second) Write(b []byte) (int, error) {
	if c.writes++; c.writes == 2 && c.before != nil {
		c.before()
	}
	return c.Conn.Write(b)
}

// A handshake has a turn whenever the server has a key to exchange or something to
// sign, also after a HelloRetryRequest, and none while it waits for its client. In
// TLS 1.3 the client's Finished waits for no turn.
func TestHandshakeHasATurnWhileItComputes(t *testing.T) {
	for name, set := range map[string]func(client, server *tls.Config){
		"TLS 1.3": func(_, _ *tls.Config) {},
		"HelloRetryRequest": func(c, s *tls.Config) {
			c.CurvePreferences, s.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}, []tls.CurveID{tls.CurveP384}
		},
		"TLS 1.2": func(c, _ *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	} {
		t.Run(name, func(t *testing.T) {
			ca := testca.New(t)
			cert := ca.Issue("relay.test")
			h := oneAtATime()
			free := func() int {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.free
			}
			signed := 0
			cert.PrivateKey = spySigner{cert.PrivateKey.(crypto.Signer), func() {
				if signed++; free() != 0 {
					t.Error("the server signs without a turn")
				}
			}}
			client := &tls.Config{RootCAs: ca.Pool(), ServerName: "relay.test"}
			config := &tls.Config{Certificates: []tls.Certificate{cert}}
			set(client, config)
			a, b := memconn.Pipe(0)
			own := &peeked{Conn: b}
			o := &ownTLS{config: config, handshakes: h}
			memory := &unfinished{limit: 1 << 20}
			own.place = memory.begin(b, 0)
			answer := make(chan error, 1)
			go func() {
				_, err := o.shake(t.Context(), own)
				answer <- err
			}()
			var took func()
			tc := tls.Client(&second{Conn: a, before: func() {
				var err error
				if took, err = h.enter(t.Context(), from("192.0.2.1")); err != nil { // it waits for the client, so the place is free
					t.Error(err)
				}
				if name != "TLS 1.3" { // there is something to compute yet
					took()
				}
			}}, client)
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != nil {
				t.Error(err)
			}
			took()
			if signed != 1 || free() != 1 || tc.ConnectionState().HelloRetryRequest != (name == "HelloRetryRequest") {
				t.Errorf("signed %d times, %d places are free at the end", signed, free())
			}
			tc.Close()
		})
	}
}

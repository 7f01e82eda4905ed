// Package testnet makes real connections for tests, and serves them.
package testnet

import (
	"net"
	"sync"
	"testing"
)

// TCPPair returns the two ends of a TCP connection on loopback. The test's end
// closes them.
func TCPPair(t testing.TB) (dialed, accepted *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d, err := net.Dial("tcp", ln.Addr().String()) // the system accepts it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return d.(*net.TCPConn), a.(*net.TCPConn)
}

// Accept serves each connection to ln in a goroutine of its own, and closes it
// then. The function end, which may be called twice, closes the listener and all
// connections, and waits for the goroutines.
func Accept(ln net.Listener, serve func(net.Conn)) (end func()) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool) // nil at the end
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				mu.Lock()
				open := conns != nil
				if open {
					conns[c] = true
				}
				mu.Unlock()
				if open {
					serve(c)
				}
			})
		}
	})
	return func() {
		ln.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		conns = nil
		mu.Unlock()
		wg.Wait()
	}
}

// Serve is Accept on a free port of loopback, until the test's end.
func Serve(t testing.TB, serve func(net.Conn)) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(Accept(ln, serve))
	return ln.Addr()
}

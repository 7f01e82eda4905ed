//go:build linux

package machines

import (
	"net"
	"sync"
	"testing"

	"keystay/internal/duplex"
)

// Forward returns an address on loopback at which connections lead to one of another
// machine, as if they were made on the machine from: for what runs in the test's own
// process. It ends with the test.
func (g *Group) Forward(t testing.TB, from int, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	keep := func(c net.Conn, is bool) {
		mu.Lock()
		defer mu.Unlock()
		if open[c] = is; !is {
			delete(open, c)
		}
	}
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				keep(in, true)
				defer keep(in, false)
				out, err := g.Dial(from, address)
				if err != nil {
					in.Close()
					return
				}
				keep(out, true)
				defer keep(out, false)
				duplex.Copy(in.(*net.TCPConn), out.(*net.TCPConn), duplex.Options{})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

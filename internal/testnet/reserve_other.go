//go:build !unix

package testnet

import (
	"net"
	"testing"
)

// Reserve returns a port of loopback on which nothing listens: a dial to it is refused.
// The test may listen on it by its number. On this system nothing keeps the port from
// being given to somebody else.
func Reserve(t testing.TB) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr()
}

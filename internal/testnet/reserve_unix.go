//go:build unix

package testnet

import (
	"net"
	"syscall"
	"testing"
)

// Reserve returns a port of loopback on which nothing listens until the test's end: a
// dial to it is refused. The port is bound at all addresses of IPv4, so that the system
// gives it to nobody that asks for any port; the test may listen on it by its number, at
// loopback or at all addresses.
func Reserve(t testing.TB) net.Addr {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
}

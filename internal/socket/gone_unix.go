//go:build unix

package socket

import (
	"errors"
	"net"
	"syscall"
)

// Gone reports whether the TCP connection that c is or wraps has ended in both
// directions. The peer's end of stream alone is not that, its reset is.
func Gone(c net.Conn) bool {
	inner := Innermost(c)
	if !IsTCP(inner) {
		return false
	}
	socket, ok := inner.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var peerErr error
	err = raw.Control(func(fd uintptr) { _, peerErr = syscall.Getpeername(int(fd)) })
	return err != nil || errors.Is(peerErr, syscall.ENOTCONN) || errors.Is(peerErr, syscall.EINVAL)
}

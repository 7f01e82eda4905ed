//go:build unix

package duplex

import (
	"errors"
	"net"
	"syscall"
)

// gone reports whether the TCP connection that c is or wraps has ended in both
// directions. The peer's end of stream alone is not that, its reset is.
func gone(c net.Conn) bool {
	inner := innermost(c)
	if _, tcp := inner.(lingerer); !tcp {
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

//go:build unix

package socket

import (
	"net"
	"syscall"
)

// Descriptor is the number of the descriptor that c is or wraps, or -1. The system gives
// out the lowest that is free: so at least as many are in use when c is made.
func Descriptor(c net.Conn) int {
	socket, ok := Innermost(c).(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	if err := raw.Control(func(fd uintptr) { n = int(fd) }); err != nil {
		return -1
	}
	return n
}

// MaxDescriptors is how many descriptors this process may have now, or 0 where the
// system does not tell.
func MaxDescriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int(min(uint64(r.Cur), 1<<30))
}

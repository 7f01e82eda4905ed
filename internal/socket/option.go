package socket

import (
	"net"
	"syscall"
	"time"
)

// UserTimeout makes the system break the connection when data that was sent has
// not been acknowledged, or not been taken by the peer, for d (RFC 5482; under
// Linux TCP_USER_TIMEOUT). It is set on each connection and not on a listener:
// those of package net are Multipath TCP, which does not take it.
func UserTimeout(c net.Conn, d time.Duration) {
	control(c, func(fd uintptr) { setUserTimeout(fd, d) })
}

// Unsent bounds what the system keeps of data that was written and not yet
// sent, in bytes (under Linux TCP_NOTSENT_LOWAT); 0 is the system's default.
// Its buffer grows to megabytes for a peer that is far away, which needs it for
// what is on its way; a peer that does not read would fill it too.
func Unsent(c net.Conn, n int) {
	control(c, func(fd uintptr) { setUnsent(fd, n) })
}

// Retransmits returns how many segments of the connection were sent once more, but
// for those that had arrived the first time, as the peer says (RFC 2883); 0 where
// the system does not tell.
func Retransmits(c net.Conn) (n int) {
	control(c, func(fd uintptr) { n = retransmits(fd) })
	return n
}

// control calls f with the socket that c is, embeds or wraps, if it is open.
func control(c net.Conn, f func(fd uintptr)) {
	s, ok := Innermost(c).(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(f)
	}
}

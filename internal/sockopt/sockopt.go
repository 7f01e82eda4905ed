// Package sockopt sets options of TCP sockets that package net does not know.
//
// A connection may be wrapped, as a [*crypto/tls.Conn] is: what has a method
// NetConn() net.Conn is looked through. Where a system has no such option, or
// there is no TCP socket, nothing is done: all that is here only makes the
// system notice sooner what our own timers notice anyway.
package sockopt

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

// UnsentLimit makes writes wait while more than n bytes have not been sent
// (TCP_NOTSENT_LOWAT). Else the system buffers megabytes for a peer that does
// not read.
func UnsentLimit(c net.Conn, n int) {
	control(c, func(fd uintptr) { setUnsentLimit(fd, n) })
}

// control calls f with the socket below c, if there is one.
func control(c net.Conn, f func(fd uintptr)) {
	for {
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner := w.NetConn()
		if inner == nil {
			return
		}
		c = inner
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(f)
	}
}

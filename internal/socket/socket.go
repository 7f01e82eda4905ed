// Package socket is what package net does not offer of sockets: whose the other end
// of one of this machine is, and of TCP their
// options, what has happened to them, and calls that never wait.
//
// A connection may be wrapped, as a [*crypto/tls.Conn] is: what has a method
// NetConn() net.Conn is looked through. Where a system has no such option or
// cannot tell, and where there is no TCP socket, nothing is done.
package socket

import "net"

// Innermost returns c without its wrappers.
func Innermost(c net.Conn) net.Conn {
	for {
		w, ok := c.(wrapper)
		if !ok {
			return c
		}
		inner := w.NetConn()
		if inner == nil {
			return c
		}
		c = inner
	}
}

// Find returns the first of c and what it wraps, from the outside to the inside,
// that is a T.
func Find[T any](c net.Conn) (found T, ok bool) {
	for c != nil {
		if found, ok = c.(T); ok {
			return found, true
		}
		w, wraps := c.(wrapper)
		if !wraps {
			break
		}
		c = w.NetConn()
	}
	return found, false
}

// IsTCP reports whether c itself is a TCP connection, or embeds one.
func IsTCP(c net.Conn) bool {
	_, ok := c.(lingerer)
	return ok
}

// Linger sets SO_LINGER of the TCP connection that c is or wraps: 0 makes Close,
// and the end of the process, a reset; -1 is the system's default. It can fail
// only on a connection that is closed already.
func Linger(c net.Conn, sec int) {
	if l, ok := Find[lingerer](c); ok {
		l.SetLinger(sec)
	}
}

// Abort closes c so that its peer sees a reset and not an end of stream: a TCP
// connection with SO_LINGER 0, anything that has a Reset method by that, and a
// wrapper that has NetConn through what it wraps. What has none of these, such
// as a unix socket, is only closed.
func Abort(c net.Conn) {
	switch c := c.(type) {
	case interface{ Reset() error }:
		c.Reset()
	case interface{ Reset() }:
		c.Reset()
	case lingerer:
		c.SetLinger(0)
	case wrapper:
		if inner := c.NetConn(); inner != nil {
			Abort(inner)
		}
	}
	c.Close()
}

// A lingerer is a *net.TCPConn, or a struct that embeds one.
type lingerer interface{ SetLinger(sec int) error }

// A wrapper is a connection made of another, such as a *tls.Conn.
type wrapper interface{ NetConn() net.Conn }

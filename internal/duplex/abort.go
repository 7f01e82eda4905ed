package duplex

import "net"

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

func isTCP(c net.Conn) bool {
	_, ok := c.(lingerer)
	return ok
}

// setLinger sets SO_LINGER on the TCP connections of c, if any. It can fail
// only on a connection that is closed already.
func setLinger(c net.Conn, sec int) {
	for _, s := range sockets(c) {
		s.(lingerer).SetLinger(sec)
	}
}

// innermost returns c without its wrappers.
func innermost(c net.Conn) net.Conn {
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

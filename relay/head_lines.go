package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"keystay/sni"
)

// maxHeadLines is how many lines a request to the relay itself may have, its body
// included: no answer depends on one. The library bounds the bytes of a head alone,
// and a field of five bytes costs it some 130.
const maxHeadLines = 128

// errHeadLines is the error of reading a request with more lines. The library
// answers it with 400.
var errHeadLines = errors.New("a request with too many lines")

// A headConn is a connection of HTTP/1 that bounds the lines of a request.
type headConn struct {
	sni.Conn
	lines atomic.Int32 // that have come since something was answered
	cut   bool         // bytes were left out, so that what comes behind them is no request
}

// Read implements io.Reader. It ends before a line too many, and fails from then on:
// a connection that fails between two requests is closed without an answer.
func (c *headConn) Read(p []byte) (int, error) {
	if c.cut {
		return 0, errHeadLines
	}
	n, err := c.Conn.Read(p)
	for i, b := range p[:n] {
		if b == '\n' && c.lines.Add(1) > maxHeadLines {
			c.cut = true
			return i, nil
		}
	}
	return n, err
}

// Write implements io.Writer.
func (c *headConn) Write(p []byte) (int, error) {
	c.lines.Store(0)
	return c.Conn.Write(p)
}

var _ interface{ CloseWrite() error } = (*headConn)(nil)

// NetConn returns the connection below.
func (c *headConn) NetConn() net.Conn { return c.Conn }

// A tlsHeadConn is a headConn above TLS.
type tlsHeadConn struct {
	headConn
	tc *tls.Conn
}

func newTLSHeadConn(c *heardConn) *tlsHeadConn {
	return &tlsHeadConn{headConn: headConn{Conn: c}, tc: c.Conn}
}

// ConnectionState tells the library that this is TLS.
func (c *tlsHeadConn) ConnectionState() tls.ConnectionState { return c.tc.ConnectionState() }

var _ interface {
	sni.Conn
	NetConn() net.Conn
	ConnectionState() tls.ConnectionState
} = (*tlsHeadConn)(nil)

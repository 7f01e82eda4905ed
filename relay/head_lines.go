package relay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"keystay/sni"
)

// maxHeadLines is how many lines a request to the relay itself may have, its body
// included: no answer of the relay's own depends on one. A body that is passed on may have
// more, and its request is the last of the connection. The library bounds the bytes of a
// head alone, and a field of five bytes costs it some 130.
const maxHeadLines = 128

// errHeadLines is the error of reading a request with more lines. The library
// answers it with 400.
var errHeadLines = errors.New("a request with too many lines")

// A headConn is a connection of HTTP/1 that bounds the lines of a request.
type headConn struct {
	sni.Conn
	lines atomic.Int32 // that have come since something was answered
	body  atomic.Bool  // the body of a request is passed on, and has as many lines as it has
	over  bool         // a line too many has come: what follows is no request
	rest  []byte       // that line, and what has come behind it
}

// Read implements io.Reader. It ends before a line too many, and fails from then on,
// unless that turns out to be of a body: a connection that fails between two requests is
// closed without an answer.
func (c *headConn) Read(p []byte) (n int, err error) {
	body := c.body.Load()
	if c.over && !body {
		return 0, errHeadLines
	}
	c.over = false
	if len(c.rest) > 0 {
		n = copy(p, c.rest)
		c.rest = c.rest[n:]
	} else {
		n, err = c.Conn.Read(p)
	}
	for i, b := range p[:n] {
		if !body && b == '\n' && c.lines.Add(1) > maxHeadLines {
			c.over, c.rest = true, append(bytes.Clone(p[i:n]), c.rest...)
			return i, nil
		}
	}
	return n, err
}

// bodyComes lets lines pass from now on. What comes behind the body may be read together
// with its end, so the connection must not be used for another request.
func (c *headConn) bodyComes() { c.body.Store(true) }

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

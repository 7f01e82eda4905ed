package relay

import (
	"crypto/tls"
	"errors"
	"net"

	"keystay/internal/socket"
	"keystay/sni"
)

// Package crypto/tls keeps a message of a handshake until it is whole, of up to
// 256 KiB. It does so before the keys are agreed on and after it, for as long as the
// connection lasts. So what TLS may take in is bounded, in bytes.
const (
	// maxUnheard is how much that is before TLS gives something on to the one that
	// reads from it: a record as long as they get (RFC 8446, section 5.2), and some
	// that only change keys.
	maxUnheard = 17 << 10
	// maxShaken is the same for what a peer sends in its handshake behind its
	// hello. A second hello, which may be asked for, may be as long as the first.
	maxShaken = 4 << 10
)

// errUnheard is the error of reading more for TLS.
var errUnheard = errors.New("TLS was sent too much that is no data")

// A heardConn is TLS that runs on a peeked.
type heardConn struct {
	*tls.Conn
	own *peeked
}

// Read implements io.Reader.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.own.bound(maxUnheard)
	}
	return n, err
}

// NetConn returns TLS.
func (c *heardConn) NetConn() net.Conn { return c.Conn }

var _ sni.Conn = (*heardConn)(nil)

// A heardWebSocket is a WebSocket whose TLS runs on a peeked. It reads from that TLS
// itself, past the heardConn that HTTP had.
type heardWebSocket struct {
	sni.Conn
	own *peeked
}

// heardSocket returns c, a WebSocket, as one whose TLS is bounded.
func heardSocket(c net.Conn) net.Conn {
	own, ok := socket.Find[*peeked](c)
	ws, closes := c.(sni.Conn)
	if !ok || !closes {
		return c
	}
	own.bound(maxUnheard)
	return &heardWebSocket{ws, own}
}

// Read implements io.Reader.
func (c *heardWebSocket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.own.bound(maxUnheard)
	}
	return n, err
}

// NetConn returns the WebSocket.
func (c *heardWebSocket) NetConn() net.Conn { return c.Conn }

var _ sni.Conn = (*heardWebSocket)(nil)

// bound lets n bytes more be read, beside those of first.
func (p *peeked) bound(n int) { p.bounded, p.left = true, n }

// unbound ends what bound began.
func (p *peeked) unbound() { p.bounded = false }

// within returns as much of b as may be read into now.
func (p *peeked) within(b []byte) ([]byte, error) {
	if !p.bounded || len(b) == 0 {
		return b, nil
	}
	if p.left == 0 {
		return nil, errUnheard
	}
	return b[:min(len(b), p.left)], nil
}

package relay

import (
	"crypto/tls"
	"net"

	"keystay/internal/socket"
	"keystay/internal/unheard"
	"keystay/sni"
)

// maxShaken is how much a peer may send in its handshake behind its hello, and once
// more behind that before a link or a lane has said anything. Then unheard.Most bounds
// it. A second hello, which may be asked for, may be as long as the first.
const maxShaken = 4 << 10

// A heardConn is TLS that runs on a peeked.
type heardConn struct {
	*tls.Conn
	own *peeked
}

// Read implements io.Reader.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.own.unheard.Set(unheard.Most)
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
	own.unheard.Set(unheard.Most)
	return &heardWebSocket{ws, own}
}

// Read implements io.Reader.
func (c *heardWebSocket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.own.unheard.Set(unheard.Most)
	}
	return n, err
}

// NetConn returns the WebSocket.
func (c *heardWebSocket) NetConn() net.Conn { return c.Conn }

var _ sni.Conn = (*heardWebSocket)(nil)

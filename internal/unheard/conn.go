package unheard

import (
	"crypto/tls"

	"keystay/internal/socket"
)

// bounded is what may be below TLS: a connection that can bound what TLS takes in.
type bounded interface {
	Unheard() *Bound
}

// Of returns the Bound of the connection below c, which counts from now on. The reader
// of c sets it anew each time that data has come. Where the connection below has no
// bound, Of returns one that nothing looks at.
func Of(c *tls.Conn) *Bound {
	below, ok := socket.Find[bounded](c)
	if !ok {
		return new(Bound)
	}
	b := below.Unheard()
	b.Set(Most)
	return b
}

// A Conn is TLS that takes in no more than Most that is no data.
type Conn struct {
	*tls.Conn
	bound *Bound
}

// NewConn returns c as a Conn. The handshake is over.
func NewConn(c *tls.Conn) *Conn { return &Conn{c, Of(c)} }

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.bound.Set(Most)
	}
	return n, err
}

var _ interface{ CloseWrite() error } = (*Conn)(nil)

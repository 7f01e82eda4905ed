package publish

import (
	"crypto/tls"
	"sync"

	"keystay/internal/unheard"
)

// maxAhead is how many bytes a visitor over HTTP/2 may send that are heard while it
// takes nothing, beyond as many as it has taken. Its frames may have to be answered
// with control frames, of ten bytes and more, and package net/http keeps 10,000 of
// these, of which each costs it some 60 bytes.
const maxAhead = 16 << 10

// An h2Conn is an HTTP/2 connection of a visitor. It bounds how much TLS takes in, and
// how much of a visitor that takes nothing is heard.
type h2Conn struct {
	*tls.Conn
	unheard *unheard.Bound

	mu      sync.Mutex
	wrote   sync.Cond // a write is over
	writing bool
	ahead   int // bytes that were read, beyond those that were written: 2·maxAhead at most, which are soon made up for
}

func newH2Conn(c *tls.Conn) *h2Conn {
	h := &h2Conn{Conn: c, unheard: unheard.Of(c)}
	h.wrote.L = &h.mu
	return h
}

// Read implements io.Reader. It waits where too much has been read while something is
// being written: HTTP/2 has to take what comes at any time (RFC 9113, section 5.2.2).
func (c *h2Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	for c.writing && c.ahead > maxAhead {
		c.wrote.Wait()
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.unheard.Set(unheard.Most)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = min(c.ahead+n, 2*maxAhead)
	return n, err
}

// Write implements io.Writer. HTTP/2 writes one piece after the other.
func (c *h2Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writing = true
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.ahead = false, max(0, c.ahead-n)
	c.wrote.Broadcast()
	return n, err
}

var _ interface{ CloseWrite() error } = (*h2Conn)(nil)

package remote

import (
	"net"
	"sync"
)

// chanListener is a net.Listener of connections that are handed to it.
type chanListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (c *chanListener) init() {
	c.conns, c.done = make(chan net.Conn), make(chan struct{})
}

func (c *chanListener) hand(conn net.Conn) {
	select {
	case c.conns <- conn:
	case <-c.done:
		conn.Close()
	}
}

// Accept returns the next connection, or an error after Close.
func (c *chanListener) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-c.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. The HTTP server may call it too.
func (c *chanListener) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// Addr says what this is.
func (c *chanListener) Addr() net.Addr { return addr("http-01") }

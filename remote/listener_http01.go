package remote

import (
	"net"
	"net/http"
	"sync"

	"keystay/framing"
)

// maxHTTP01 is how many HTTP-01 streams a listener has at once. The relay sends a
// question as a whole, and it is answered at once: a CA looks from some places.
const maxHTTP01 = 32

// chanListener is a net.Listener of HTTP-01 streams that are handed to it.
type chanListener struct {
	conns  chan net.Conn
	places chan struct{} // has one for each stream
	done   chan struct{}
	once   sync.Once
}

func (c *chanListener) init() {
	c.conns, c.places, c.done = make(chan net.Conn), make(chan struct{}, maxHTTP01), make(chan struct{})
}

// hand gives a stream to Accept. It refuses one that is too many.
func (c *chanListener) hand(stream *framing.Stream) {
	select {
	case c.places <- struct{}{}:
	default:
		stream.Refuse()
		return
	}
	select {
	case c.conns <- stream:
	case <-c.done:
		<-c.places
		stream.Close()
	}
}

// state is the http.Server's ConnState: it gives places back.
func (c *chanListener) state(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed {
		<-c.places
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

package remote

import (
	"net"
	"net/http"
	"sync"

	"keystay/framing"
)

// maxHTTP01 is how many HTTP-01 streams a listener has at once of one relay. The relay sends a
// question as a whole, and it is answered at once: a CA looks from some places.
const maxHTTP01 = 32

// A validations are the places of a listener for what a CA asks by one relay: no other relay
// of the name fills them.
type validations struct {
	questions chan struct{} // holds an element for each HTTP-01 stream
	unwanted  unwanted      // visitors whom the rules refuse
}

// validationsBy returns the places of a relay through which the name may be served.
func (l *Listener) validationsBy(relay string) *validations {
	host, port := splitRelay(relay)
	key := net.JoinHostPort(host, port)
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.validations[key]
	if v == nil {
		if l.validations == nil {
			l.validations = make(map[string]*validations)
		}
		v = &validations{questions: make(chan struct{}, maxHTTP01)}
		l.validations[key] = v
	}
	return v
}

// A question is an HTTP-01 stream, which has one of its listener's places.
type question struct {
	*framing.Stream
	places chan struct{}
}

// chanListener is a net.Listener of HTTP-01 streams that are handed to it.
type chanListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (c *chanListener) init() {
	c.conns, c.done = make(chan net.Conn), make(chan struct{})
}

// hand gives a stream to Accept. It refuses one for which there is no place, of which
// places holds an element for each that is taken.
func (c *chanListener) hand(stream *framing.Stream, places chan struct{}) {
	select {
	case places <- struct{}{}:
	default:
		stream.Refuse()
		return
	}
	select {
	case c.conns <- question{stream, places}:
	case <-c.done:
		<-places
		stream.Close()
	}
}

// state is the http.Server's ConnState: it gives places back.
func (c *chanListener) state(conn net.Conn, s http.ConnState) {
	if q, ok := conn.(question); ok && s == http.StateClosed {
		<-q.places
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

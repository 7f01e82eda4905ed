package relay

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"keystay/internal/httpdrain"
	"keystay/internal/socket"
	"keystay/sni"
)

// What is counted for a connection over which HTTP is spoken with the relay
// itself, in bytes, beside unfinishedBase: at least what it can make the relay
// hold.
const (
	// tlsMemory is for a TLS connection: its buffers and the stack of its handshake.
	tlsMemory = 16 << 10
	// site1Memory is for HTTP/1.1 in TLS: a request's head and the page.
	site1Memory = tlsMemory + 32<<10
	// site2Memory is for HTTP/2 in TLS: maxSiteStreams requests with their heads,
	// pages and goroutines, the bodies that were not asked for, and a frame.
	site2Memory = tlsMemory + 32<<10 + maxSiteStreams*24<<10 + siteWindow
	// plainMemory is for HTTP/1.1 without TLS.
	plainMemory = 40 << 10
	// challengeMemory is for the request to a remote that one without TLS leads to,
	// and its answer.
	challengeMemory = 40 << 10
)

const (
	// maxSiteStreams is how many requests one HTTP/2 connection to the relay's site
	// may have at once: the site has one page.
	maxSiteStreams = 8
	// siteWindow is how many bytes of bodies an HTTP/2 connection may send that
	// nobody reads: the least that the library takes.
	siteWindow = 64 << 10
	// maxSiteHead is the longest head of a request to the relay's site or to its
	// admin address, in bytes. The library reads up to 4 KiB more.
	maxSiteHead = 8 << 10
	// maxPlainHead is the same for port 80: a browser sends there what cookies it
	// has of the name.
	maxPlainHead = 16 << 10
	// answerTimeout is how long the answer to one request may take: it is short
	// unless it comes from a remote, which has challengeTimeout.
	answerTimeout = 10 * time.Second
)

// siteMemory is what is counted for a connection to the site that speaks proto.
func siteMemory(proto string) int {
	if proto == "h2" {
		return site2Memory
	}
	return site1Memory
}

// httpServer returns a server with the limits that every one here has.
func (s *Server) httpServer(h http.Handler, maxHead int, answer time.Duration) *httpdrain.Server {
	return httpdrain.New(&http.Server{
		Handler:           s.caught(h),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      answer,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHead,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxSiteStreams,
			MaxDecoderHeaderTableSize:     4 << 10, // the protocol's own default
			MaxEncoderHeaderTableSize:     4 << 10,
			MaxReadFrameSize:              16 << 10, // the least there is
			MaxReceiveBufferPerConnection: siteWindow,
			MaxReceiveBufferPerStream:     4 << 10,
			WriteByteTimeout:              answerTimeout,
		},
		ErrorLog:    log.New(io.Discard, "", 0), // its lines carry visitors' addresses
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := socket.Find[*peeked](c); ok {
				ctx = context.WithValue(ctx, placeKey{}, p.place)
			}
			return ctx
		},
	})
}

// placeKey is the context key of the place of a request's connection.
type placeKey struct{}

// placeOf returns the place of the connection of r, or nil.
func placeOf(r *http.Request) *pending {
	p, _ := r.Context().Value(placeKey{}).(*pending)
	return p
}

// trackHTTP is track for a listener of an HTTP server, of which each connection
// counts for n bytes.
func (s *Server) trackHTTP(ln net.Listener, to *httpdrain.Server, n int) (net.Listener, error) {
	return s.track(ln, func(c net.Conn) net.Conn {
		if c = s.placed(c, n); c != nil {
			to.Expect(c)
		}
		return c
	})
}

// placed gives a connection that an HTTP server is about to take a place, until it
// is closed. Without one it is closed, and nil is returned.
func (s *Server) placed(c net.Conn, n int) net.Conn {
	conn, ok := c.(sni.Conn)
	if !ok {
		c.Close()
		return nil
	}
	p := s.unfinished.beginHere(conn, n)
	if p == nil {
		s.outOfMemory()
		c.Close()
		return nil
	}
	return &headConn{Conn: &peeked{Conn: conn, place: p}}
}

// caught is h, with a panic in it counted. The HTTP server ends the connection.
func (s *Server) caught(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.panics.Catch("answering a request", func() { panic(http.ErrAbortHandler) })
		h.ServeHTTP(w, r)
	})
}

// Package httpdrain ends an HTTP server without losing requests that are on
// their way.
//
// [http.Server.Shutdown] drops a connection whose first request it reads after
// the call, though the connection was accepted before. A [Server] first waits
// for those.
package httpdrain

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// FirstRequestTimeout is the longest that Shutdown waits for connections that
// have not sent a request yet: some never will, such as those that browsers open
// in advance.
const FirstRequestTimeout = 2 * time.Second

// A Server is an http.Server that can be shut down gently. Make it with New.
type Server struct {
	*http.Server

	mu    sync.Mutex
	fresh map[net.Conn]int // connections without a request, and how often they were active
	none  chan struct{}    // closed when fresh becomes empty; nil when nobody waits
}

// New wraps srv, before it serves. It sets srv.ConnState.
func New(srv *http.Server) *Server {
	s := &Server{Server: srv, fresh: make(map[net.Conn]int)}
	srv.ConnState = s.note
	return s
}

// Expect tells of a connection that Serve is about to take. Between its listener
// and the first ConnState there is a moment in which Shutdown would not see it.
func (s *Server) Expect(c net.Conn) { s.note(c, http.StateNew) }

// note follows a connection to its first request.
func (s *Server) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.fresh[c] = 0
		return
	case http.StateIdle:
		return
	case http.StateActive:
		n, ok := s.fresh[c]
		if ok && n == 0 && isHTTP2(c) { // HTTP/2 is active once before the first request
			s.fresh[c] = 1
			return
		}
	}
	delete(s.fresh, c)
	if len(s.fresh) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

func isHTTP2(c net.Conn) bool {
	tc, ok := c.(*tls.Conn)
	return ok && tc.ConnectionState().NegotiatedProtocol == "h2"
}

// Shutdown waits until each connection has sent its first request, for
// FirstRequestTimeout at most, and then does what http.Server.Shutdown does.
// The caller sees to it that no more connections are accepted.
func (s *Server) Shutdown(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, FirstRequestTimeout)
	defer cancel()
	select {
	case <-s.allAsked():
	case <-first.Done():
	}
	return s.Server.Shutdown(ctx)
}

// allAsked returns a channel that is closed when no connection is fresh.
func (s *Server) allAsked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fresh) == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if s.none == nil {
		s.none = make(chan struct{})
	}
	return s.none
}

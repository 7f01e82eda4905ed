// Package httpdrain ends an HTTP server without losing requests that are on
// their way.
//
// [http.Server.Shutdown] drops a connection whose first request it reads after
// the call, though the connection was accepted before. A [Server] first waits
// for those.
package httpdrain

import (
	"context"
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
	fresh map[net.Conn]struct{} // connections without a request
	none  chan struct{}         // closed when fresh becomes empty; nil when nobody waits
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// New wraps srv, before it serves: its Handler, ConnContext and ConnState. A
// request counts as sent when its handler is called: a connection becomes active
// a moment before that, and one that does while the server is shut down is
// dropped.
func New(srv *http.Server) *Server {
	s := &Server{Server: srv, fresh: make(map[net.Conn]struct{})}
	connState := srv.ConnState
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if connState != nil {
			connState(c, state)
		}
		switch state {
		case http.StateNew:
			s.Expect(c)
		case http.StateClosed, http.StateHijacked:
			s.forget(c)
		}
	}
	connContext := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
	handler := srv.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			s.forget(c)
		}
		handler.ServeHTTP(w, r)
	})
	return s
}

// Expect tells of a connection that Serve is about to take. Between its listener
// and the first ConnState there is a moment in which Shutdown would not see it.
func (s *Server) Expect(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh[c] = struct{}{}
}

// forget notes that c has sent a request, or is closed.
func (s *Server) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fresh, c)
	if len(s.fresh) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
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

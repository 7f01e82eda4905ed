package inspect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// requestTimeout is how long a browser may take to send a request, and readTimeout
	// how long to read an answer.
	requestTimeout, readTimeout = 30 * time.Second, time.Minute
	// maxRenders is how many pages are made at once. Each may look through all that is
	// kept, with a processor that visitors could use.
	maxRenders = 2
	// maxConns is how many connections browsers and programs may have at once.
	maxConns = 64
)

// A Server answers browsers on this machine with the page of an Inspector.
type Server struct {
	in      *Inspector
	token   string
	url     string
	http    *http.Server
	mux     *http.ServeMux
	renders chan struct{} // has a place for each page that is being made
	viewers atomic.Int64
	closing context.Context
	close   context.CancelFunc
	closed  chan struct{}
}

// ErrNotLoopback is the error of Start for an address that others could reach.
var ErrNotLoopback = errors.New("the inspector is for this machine alone: its address has to be a loopback address, such as 127.0.0.1:4040")

// Start serves the page of in on a loopback address, host:port, whose port may be 0,
// until Close. Only who knows the token in [Server.URL] sees it.
func Start(address string, in *Inspector) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return nil, ErrNotLoopback
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the inspector: %w", err)
	}
	s := newServer(in)
	s.url = "http://" + ln.Addr().String() + "/" + s.token + "/"
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: requestTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(s.closed)
		_ = s.http.Serve(&boundedListener{Listener: ln, places: make(chan struct{}, maxConns)})
	}()
	return s, nil
}

func newServer(in *Inspector) *Server {
	s := &Server{in: in, token: rand.Text(), renders: make(chan struct{}, maxRenders), closed: make(chan struct{})}
	s.closing, s.close = context.WithCancel(context.Background())
	s.mux = s.routes()
	return s
}

// URL is the address of the page, with its token. Whoever has it sees all that is kept.
func (s *Server) URL() string { return s.url }

// Close ends the page, and the replays that are under way.
func (s *Server) Close() error {
	s.close()
	err := s.http.Close()
	<-s.closed
	s.in.Close()
	return err
}

// A boundedListener accepts as many connections at once as there are places, and closes
// what comes beyond.
type boundedListener struct {
	net.Listener
	places chan struct{}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &placedConn{Conn: c, places: l.places}, nil
		default:
			_ = c.Close()
		}
	}
}

// A placedConn gives its place back once it is closed.
type placedConn struct {
	net.Conn
	places chan struct{}
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	if !c.closed.Swap(true) {
		<-c.places
	}
	return c.Conn.Close()
}

// CloseWrite ends this side.
func (c *placedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return http.ErrNotSupported
}

var _ interface{ CloseWrite() error } = (*placedConn)(nil)

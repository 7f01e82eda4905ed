package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/relay"
)

const (
	// requestTimeout is how long a request may take to come, and answerTimeout how
	// long it may take from there until its answer is written.
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	// idleTimeout is how long a connection may be kept without a request.
	idleTimeout = time.Minute
	// maxHead is the longest head of a request, in bytes.
	maxHead = 8 << 10
)

// A Relay is what the levers are pulled on, as [relay.Server] is.
type Relay interface {
	Status() relay.Status
	Remotes(w relay.Which, cursor string, n int) (list []relay.Remote, next string, err error)
	Cut(relay.Cut) relay.Severed
}

// A Server answers the API. Its fields are set before Serve and not changed
// afterwards.
type Server struct {
	// Relay is what is asked and told. Required.
	Relay Relay

	// Domain is the relay's own name. Required.
	Domain string

	// Names decides about names. Required.
	Names Names

	// About fills in the fields of a Status that Relay does not know. Required.
	About func(*Status)

	// Config returns the configuration in effect. Required.
	Config func() Config

	// Drain begins the orderly end of the process, and returns until when visitors
	// may finish. A second call changes nothing. Required.
	Drain func() (until time.Time)

	// Copy writes a whole copy of the record of names, and returns its path and its
	// size in bytes. Required.
	Copy func() (file string, size int64, err error)

	// Cluster has the nodes of a relay on several machines; nil is one machine.
	Cluster Cluster

	// Audit keeps what was done; nil keeps nothing.
	Audit *Audit

	// PeerUID returns the user at the other end of a connection; nil asks the system.
	PeerUID func(net.Conn) (int, error)

	// Logger hears of levers; nil discards.
	Logger *slog.Logger

	once   sync.Once
	http   *http.Server
	log    *slog.Logger
	panics *panics.Log
	paused atomic.Bool
}

func (s *Server) init() {
	s.once.Do(func() {
		s.log = s.Logger
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.panics = &panics.Log{Logger: s.log, Passes: http.ErrAbortHandler}
		s.http = &http.Server{
			Handler:           s.handler(),
			ReadHeaderTimeout: requestTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      requestTimeout + answerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHead,
			ErrorLog:          log.New(io.Discard, "", 0),
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, peerKey{}, s.peer(c))
			},
		}
	})
}

// Serve answers on ln, which it closes. It blocks, and always returns an error:
// http.ErrServerClosed after Shutdown or Close.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	err := s.http.Serve(ln)
	if errors.Is(err, net.ErrClosed) {
		err = http.ErrServerClosed
	}
	return err
}

// Pause answers every request with 503 until Resume: a new process is taking over,
// and pulls the levers then.
func (s *Server) Pause() { s.paused.Store(true) }

// Resume ends a Pause.
func (s *Server) Resume() { s.paused.Store(false) }

// Shutdown closes the listeners and waits for requests that are being answered, or
// for the end of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	return s.http.Shutdown(ctx)
}

// Close cuts everything.
func (s *Server) Close() error {
	s.init()
	return s.http.Close()
}

// peerKey is the context key of the peer of a request.
type peerKey struct{}

// A peer is the process at the other end of a connection.
type peer struct {
	uid int
	err error // why that is not known
}

func (s *Server) peer(c net.Conn) peer {
	if s.PeerUID != nil {
		uid, err := s.PeerUID(c)
		return peer{uid, err}
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{err: fmt.Errorf("a %T has no user: %w", c, errors.ErrUnsupported)}
	}
	uid, err := socket.PeerUID(u)
	return peer{uid, err}
}

// admit refuses everybody but the user who runs the relay, and root.
func (p peer) admit() error {
	own := os.Geteuid()
	switch {
	case p.err != nil:
		return problem(http.StatusForbidden, "cannot tell whose this connection is: %v", p.err)
	case p.uid != 0 && p.uid != own:
		return problem(http.StatusForbidden, "%s may not use this relay's levers", userName(p.uid)).
			because("run it as root, or as " + userName(own))
	}
	return nil
}

// who returns whoever sent a request as the audit log has it.
func who(r *http.Request) string {
	if inside, ok := r.Context().Value(whoKey{}).(string); ok {
		return inside
	}
	p, _ := r.Context().Value(peerKey{}).(peer)
	return fmt.Sprintf("user %s (%d)", userName(p.uid), p.uid)
}

// userName is the name of a user, or its number where it has none.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

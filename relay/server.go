package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/inetaf/tcpproxy"

	"keystay/framing"
)

// ErrServerClosed is returned by Serve and ServeHTTP01 after Shutdown or Close.
var ErrServerClosed = errors.New("relay: server closed")

// HoldTimeout is how long a visitor of a name whose remote is away waits for it.
const HoldTimeout = 10 * time.Second

// goAwayTimeout is how long a remote may take to acknowledge that the relay stops.
const goAwayTimeout = 5 * time.Second

// A Server is a relay. Its fields are set before the first call of Serve and
// not changed afterwards.
type Server struct {
	// Domain is the relay's own name and the zone of the names it gives out,
	// in lower case, without a trailing dot.
	Domain string

	// TLS has the certificate for Domain. Its NextProtos are left as they are
	// for browsers; links are added. A GetConfigForClient may answer the CA's
	// acme-tls/1 validations.
	TLS *tls.Config

	// Challenge answers ACME HTTP-01 requests for Domain; nil answers 404.
	Challenge http.Handler

	// Names decides who may use which name, and remembers it.
	Names *Names

	// PublicPort is where visitors reach the relay, told to each remote;
	// 0 means the port of the first listener given to Serve.
	PublicPort int

	// Abuse is a public URL for complaints, or empty.
	Abuse string

	// Version is shown on the relay's page and to remotes.
	Version string

	// Logger hears what remotes do, and nothing of visitors; nil discards.
	Logger *slog.Logger

	once     sync.Once
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	log      *slog.Logger
	presence presence
	holds    holds
	gate     *gate
	own      *tcpproxy.TargetListener // connections for Domain
	site     *tcpproxy.TargetListener // those of them that are HTTP
	siteHTTP *http.Server
	plain    *http.Server
	stats    stats
	wg       sync.WaitGroup // visitors, links, own connections

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{} // from accept to the end
	port      int
}

func (s *Server) init() {
	s.once.Do(func() {
		s.log = s.Logger
		if s.log == nil {
			s.log = slog.New(slog.DiscardHandler)
		}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.gate = newGate()
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[net.Conn]struct{})
		s.own = &tcpproxy.TargetListener{Address: s.Domain}
		s.site = &tcpproxy.TargetListener{Address: s.Domain}
		s.siteHTTP = s.httpServer(s.siteHandler())
		s.plain = s.httpServer(s.plainHandler())
		s.port = s.PublicPort
		s.wg.Go(s.serveOwn)
		s.wg.Go(func() { s.siteHTTP.Serve(s.site) })
	})
}

// Serve takes visitors and remotes from ln, with tcpproxy as the front. It
// blocks, closes ln, and always returns an error: ErrServerClosed after
// Shutdown or Close. It may be called for several listeners at once.
func (s *Server) Serve(ln net.Listener) error {
	s.init()
	s.mu.Lock()
	if a, ok := ln.Addr().(*net.TCPAddr); ok && s.port == 0 {
		s.port = a.Port
	}
	s.mu.Unlock()
	const public = "public"
	p := tcpproxy.Proxy{ListenFunc: func(_, _ string) (net.Listener, error) { return s.track(ln) }}
	p.AddRoute(public, target(s.handle))
	if err := p.Run(); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ErrServerClosed
}

// ServeHTTP01 answers plain HTTP on ln: ACME HTTP-01 requests go to the remote
// that holds the name, browsers are sent to https. It blocks like Serve.
func (s *Server) ServeHTTP01(ln net.Listener) error {
	s.init()
	tracked, err := s.track(ln)
	if err != nil {
		return ErrServerClosed
	}
	if err := s.plain.Serve(tracked); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return ErrServerClosed
}

// track notes ln for Shutdown and makes its Accept survive passing errors.
func (s *Server) track(ln net.Listener) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		ln.Close()
		return nil, net.ErrClosed
	}
	s.listeners[ln] = struct{}{}
	return &listener{Listener: ln, log: s.log, done: s.ctx.Done()}, nil
}

// publicPort is the port that belongs into the URL of a name.
func (s *Server) publicPort() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Shutdown takes no new visitors, tells the remotes, waits until the visitors
// are served or ctx ends, and then cuts what is left. It returns ctx's error
// when something had to be cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stopListening()
	links := s.presence.links()
	tell, cancel := context.WithTimeout(ctx, goAwayTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			in := time.Duration(0)
			if t, ok := ctx.Deadline(); ok {
				in = time.Until(t)
			}
			l.link.GoAway(tell, framing.GoAway{Code: framing.GoAwayShutdown, In: in, Text: "the relay stops"})
		})
	}
	err := s.stats.visitors.wait(ctx)
	wg.Wait() // Close would cut the links before the remotes have heard
	s.Close()
	return err
}

// Close cuts everything and waits until it is gone. It does not close Names.
func (s *Server) Close() error {
	s.init()
	s.stopListening()
	s.cancel()
	s.own.Close()
	s.site.Close()
	s.siteHTTP.Close()
	s.plain.Close()
	s.mu.Lock()
	for c := range s.conns {
		abort(c)
	}
	s.mu.Unlock()
	for _, l := range s.presence.links() {
		l.link.Close()
	}
	s.wg.Wait()
	return nil
}

func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for ln := range s.listeners {
		ln.Close()
	}
}

// admit notes c, so that Close finds it, and says whether it may go on. The
// function it returns forgets c.
func (s *Server) admit(c net.Conn) (forget func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.wg.Done()
	}, true
}

// target is a function as a tcpproxy.Target.
type target func(net.Conn)

func (f target) HandleConn(c net.Conn) { f(c) }

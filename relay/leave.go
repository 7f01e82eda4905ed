package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/httpdrain"
	"keystay/sni"
)

// settleTimeout is how long connections that were accepted may take to find
// their session, or to finish a request of their own, when the server leaves:
// longer than a hello or a handshake may.
const settleTimeout = 15 * time.Second

// goAwayTimeout is how long a remote may take to acknowledge that the server
// leaves.
const goAwayTimeout = 5 * time.Second

// A departure is what a server that leaves does with what still comes.
type departure struct {
	ctx     context.Context
	goAway  framing.GoAway
	pass    func(net.Conn, []byte) error // nil where nobody follows
	settled chan struct{}                // closed when no stream will be opened any more
}

// Shutdown takes no new visitors, tells the remotes, waits until the visitors
// are served or ctx ends, and then cuts what is left. It returns an error that
// wraps ctx's when visitors had to be cut.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.leave(ctx, framing.GoAway{Code: framing.GoAwayShutdown, Text: "the relay stops"}, nil)
}

// HandOver is Shutdown for a server whose listening sockets another process
// has: remotes are told to dial again at once, which leads them there.
//
// A visitor that was accepted here, and whose remote is there by now, is passed
// on with the bytes that were read from it: pass gives both to [Server.Adopt]
// in the other process. HandOver closes the connection here afterwards. Where
// pass fails the visitor is refused.
func (s *Server) HandOver(ctx context.Context, pass func(c net.Conn, first []byte) error) error {
	return s.leave(ctx, framing.GoAway{Code: framing.GoAwayTakeover, Text: "another process of this relay has taken over"}, pass)
}

func (s *Server) leave(ctx context.Context, g framing.GoAway, pass func(net.Conn, []byte) error) error {
	s.init()
	if t, ok := ctx.Deadline(); ok {
		g.In = time.Until(t)
	}
	// Visitors are counted before anything of them is cut.
	inner, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	cut := 0
	counted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(counted)
		cut = s.Visitors()
		end()
	})
	d := &departure{ctx: inner, goAway: g, pass: pass, settled: make(chan struct{})}
	if !s.depart(d) {
		return ErrServerClosed
	}
	s.stopListening()
	var wg sync.WaitGroup
	for _, sess := range s.presence.links() {
		wg.Go(sess.leave)
	}
	s.settle(inner)
	close(d.settled)
	wg.Wait()                        // the streams of each link have ended
	_ = s.stats.visitors.wait(inner) // what is left then is cut
	s.Close()
	if stop() {
		return nil
	}
	if <-counted; cut == 0 {
		return nil
	}
	return fmt.Errorf("%d of them: %w", cut, ctx.Err())
}

// Visitors is how many visitors are here: those that wait for a remote, and
// those that are served.
func (s *Server) Visitors() int { return s.stats.visitors.current() }

// depart notes d, once.
func (s *Server) depart(d *departure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.departure != nil || s.closing {
		return false
	}
	s.departure = d
	close(s.leaving)
	return true
}

// departing returns how the server leaves, or nil.
func (s *Server) departing() *departure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.departure
}

// settle waits until what was accepted has been routed, and ends the HTTP
// servers in good order.
func (s *Server) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	s.mu.Lock()
	servers := append([]*httpdrain.Server{s.plain}, s.admins...)
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, h := range servers {
		wg.Go(func() { h.Shutdown(ctx) })
	}
	_ = s.routing.wait(ctx)
	s.siteHTTP.Shutdown(ctx) // what was routed there has arrived
	wg.Wait()
}

// passOn gives a visitor to the process that follows. It reports false when c is
// still the caller's.
func (s *Server) passOn(next func(net.Conn, []byte) error, c net.Conn, first []byte) bool {
	if p, ok := c.(*peeked); ok { // it was passed on to this process already
		c, first = p.Conn, append(first[:len(first):len(first)], p.first...)
	}
	if err := next(c, first); err != nil {
		s.log.Warn("cannot pass a visitor on", "err", err)
		return false
	}
	c.Close() // this process's descriptor; the connection lives on
	return true
}

// Adopt serves a connection that another process accepted on the public port,
// and from which it has read first. A visitor is served on when it has returned.
func (s *Server) Adopt(c net.Conn, first []byte) {
	s.init()
	conn, ok := c.(sni.Conn)
	if !ok {
		c.Close()
		return
	}
	s.routing.add()
	s.handle(&peeked{Conn: conn, first: first})
}

// Expect tells the names that another process of this relay has served until
// now. They count as away: for TakeoverHold their visitors wait for them. It is
// called before Serve.
func (s *Server) Expect(names []string) {
	s.init()
	s.router.expected.begin(names, TakeoverHold)
}

// Served returns the names that are served now, and those that are expected.
func (s *Server) Served() []string {
	s.init()
	return append(s.presence.served(), s.router.expected.list()...)
}

// Pause makes the server accept nothing, on any of its listeners, until Resume.
// When it has returned no connection is being accepted; those that arrive wait
// in the kernel. Every listener must have SetDeadline, as a *net.TCPListener
// has. If it fails nothing is paused.
func (s *Server) Pause() error {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.departure != nil || s.closing || s.pausing {
		return errors.New("pause: the server is paused or stops")
	}
	s.pausing = true
	for ln := range s.listeners {
		if err := s.pauseLocked(ln); err != nil {
			s.resumeLocked()
			return err
		}
	}
	return nil
}

func (s *Server) pauseLocked(ln *listener) error {
	err := ln.pause()
	if err == nil {
		s.paused = append(s.paused, ln)
	}
	return err
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumeLocked()
}

func (s *Server) resumeLocked() {
	for _, ln := range s.paused {
		ln.resume()
	}
	s.paused, s.pausing = nil, false
}

package relay

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/framing"
)

// goAwayTimeout is how long a remote may take to acknowledge that the server
// leaves.
const goAwayTimeout = 5 * time.Second

// A departure says how a server leaves, and where connections that still come go.
type departure struct {
	ctx     context.Context
	goAway  framing.GoAway
	pass    func(net.Conn, []byte) error // to the new process; nil without one
	settled chan struct{}                // closed when no stream will be opened any more
}

// Shutdown takes no new visitors, tells the remotes, waits until the visitors
// are served or ctx ends, and then cuts what is left. It returns an error that
// wraps ctx's when visitors had to be cut.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.leave(ctx, framing.GoAway{Code: framing.GoAwayShutdown, Text: "the relay stops"}, nil)
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
	keep := pass == nil // the operator's address, so that it tells how the rest goes
	if !s.sockets.stop(keep) {
		return ErrServerClosed
	}
	s.departure.Store(d)
	close(s.leaving)
	s.presence.tellAll()
	var wg sync.WaitGroup
	for _, sess := range s.presence.links() {
		wg.Go(sess.leave)
	}
	s.hops.came.end()
	s.web.settle(inner, keep)
	_ = s.hops.came.all.wait(inner)
	close(d.settled)
	wg.Wait() // the streams of each link have ended
	for _, g := range []*gauge{&s.stats.visitors, &s.stats.static, &s.stats.fallback} {
		_ = g.wait(inner) // what is left then is cut
	}
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
func (s *Server) Visitors() int {
	return s.stats.visitors.current() + s.stats.static.current() + s.stats.fallback.current()
}

package raw

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"keystay/internal/socket"
)

// lateTimeout is how long a visitor who was accepted before the listener failed
// waits for the one of its protocol to be asked for it.
const lateTimeout = 5 * time.Second

// Split makes n listeners out of one, by the application protocol that was agreed
// on with each visitor: byProtocol returns the number of the listener for it, 0 to
// n-1, and gets "" where there is none. A visitor for another number is reset.
//
// The connections of ln are *tls.Conn, ended here; others count as having no
// protocol. One goroutine accepts for all. When ln fails, each listener's Accept
// returns its error, after the visitors that came before. Closing one of the listeners refuses its visitors from then
// on; closing the last closes ln.
func Split(ln net.Listener, byProtocol func(alpn string) int, n int) []net.Listener {
	s := &splitter{ln: ln, byProtocol: byProtocol, open: n, ending: make(chan struct{}), failed: make(chan struct{})}
	listeners := make([]net.Listener, n)
	for range n {
		s.parts = append(s.parts, &part{s: s, conns: make(chan net.Conn), closed: make(chan struct{})})
	}
	for i, p := range s.parts {
		listeners[i] = p
	}
	go s.run()
	return listeners
}

// A splitter accepts for the listeners of one Split.
type splitter struct {
	ln         net.Listener
	byProtocol func(string) int
	parts      []*part
	ending     chan struct{}  // closed when ln has failed
	handing    sync.WaitGroup // visitors that no part has accepted yet
	failed     chan struct{}  // closed when they are gone, too
	err        error          // ln's, written before

	mu   sync.Mutex
	open int // parts that are not closed
}

func (s *splitter) run() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			s.err = err
			close(s.ending)
			s.handing.Wait()
			close(s.failed)
			return
		}
		s.handing.Go(func() { s.hand(c) })
	}
}

// hand gives a visitor to the listener of its protocol.
func (s *splitter) hand(c net.Conn) {
	if err := shake(context.Background(), c); err != nil {
		c.Close()
		return
	}
	protocol := ""
	if tc, ok := c.(*tls.Conn); ok {
		protocol = tc.ConnectionState().NegotiatedProtocol
	}
	i := s.byProtocol(protocol)
	if i < 0 || i >= len(s.parts) {
		socket.Abort(c)
		return
	}
	p := s.parts[i]
	select {
	case p.conns <- c:
		return
	case <-p.closed:
		socket.Abort(c)
		return
	case <-s.ending:
	}
	late := time.NewTimer(lateTimeout)
	defer late.Stop()
	select {
	case p.conns <- c:
	case <-p.closed:
		socket.Abort(c)
	case <-late.C:
		socket.Abort(c)
	}
}

// A part is one of the listeners of a Split.
type part struct {
	s      *splitter
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept returns the next visitor of this listener.
func (p *part) Accept() (net.Conn, error) {
	select {
	case <-p.closed:
		return nil, &net.OpError{Op: "accept", Net: p.Addr().Network(), Addr: p.Addr(), Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "accept", Net: p.Addr().Network(), Addr: p.Addr(), Err: net.ErrClosed}
	case <-p.s.failed:
		return nil, p.s.err
	}
}

// Close refuses the visitors of this listener from now on.
func (p *part) Close() error {
	var err error
	p.once.Do(func() {
		close(p.closed)
		p.s.mu.Lock()
		p.s.open--
		last := p.s.open == 0
		p.s.mu.Unlock()
		if last {
			err = p.s.ln.Close()
		}
	})
	return err
}

// Addr is the address of the listener that was split.
func (p *part) Addr() net.Addr { return p.s.ln.Addr() }

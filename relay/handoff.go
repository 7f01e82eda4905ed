package relay

import (
	"net"
	"sync"
)

// A handoff is a listener whose connections come from this program: each wakes the
// one Accept that takes it. Make it with newHandoff.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHandoff(name string) *handoff {
	return &handoff{addr: named(name), conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand gives c to Accept, and waits for that. After Close it closes c.
func (h *handoff) hand(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

// Accept returns the next connection, and [net.ErrClosed] after Close.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and hand.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr is the name that was given to newHandoff.
func (h *handoff) Addr() net.Addr { return h.addr }

// A named address is a name.
type named string

func (named) Network() string  { return "keystay" }
func (n named) String() string { return string(n) }

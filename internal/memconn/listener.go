package memconn

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// Backlog is how many connections a [Listener] holds that were dialed and not
// yet accepted. A further Dial waits.
const Backlog = 128

// A Listener is a [net.Listener] whose connections come from its own Dial.
type Listener struct {
	addr  net.Addr
	slots chan struct{} // one element for each connection in queue
	queue chan *Conn
	done  chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	dialed int // how often Dial has chosen an address
}

// Listen returns a listener at addr, which is only a word: nothing is bound
// and two listeners may have the same. If it is nil, 192.0.2.2:443 is used.
// The caller closes it.
func Listen(addr net.Addr) *Listener {
	if addr == nil {
		addr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443}
	}
	return &Listener{
		addr:  addr,
		slots: make(chan struct{}, Backlog),
		queue: make(chan *Conn, Backlog),
		done:  make(chan struct{}),
	}
}

// Dial connects to l from an address of its own choice. It returns without
// waiting for Accept, as TCP does, while the backlog has room. A listener that
// is closed refuses with syscall.ECONNREFUSED. The caller closes the result.
func (l *Listener) Dial(ctx context.Context) (*Conn, error) {
	l.mu.Lock()
	// The dynamic ports, in turn.
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 49152 + l.dialed%16384}
	l.dialed++
	l.mu.Unlock()
	return l.DialFrom(ctx, from)
}

// DialFrom is Dial with the address that the accepting side sees.
func (l *Listener) DialFrom(ctx context.Context, from net.Addr) (*Conn, error) {
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: from, Addr: l.addr, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fail(syscall.ECONNREFUSED)
	}
	client, server := Pipe(0)
	client.SetAddrs(from, l.addr)
	l.queue <- server // a slot is held, so there is room
	return client, nil
}

// Accept waits for the next connection, a [*Conn]. After Close it returns an
// error that is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		<-l.slots
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close ends Accept and resets the connections that were not accepted. Those
// that were go on.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			c.Reset()
		default:
			return nil
		}
	}
}

// Addr returns the address given to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

package remote

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// A Listener is a net.Listener of the connections to a public name. Each is a
// *tls.Conn after its handshake, or with Raw a *framing.Stream before it, with the
// visitor's address as RemoteAddr. One that has come by [ServeHome] is with Raw another
// connection that has CloseWrite and Reset.
type Listener struct {
	d      *Device
	cfg    Name
	domain string
	how    served // Relays are those that were given, or that gave it before
	kept   kept
	unlock func() error
	base   *tls.Config                // without what Handshake says
	tls    atomic.Pointer[tls.Config] // for visitors
	keeper *acme.Keeper               // the device's; nil when no certificate is ordered
	conns  chan net.Conn              // for Accept
	wanted int                        // ways that are to claim the name; guarded by Device.mu
	said   saidPorts                  // guarded by Device.mu
	relays []string                   // that the name may be served through

	// The ends of the listener, as those of Device.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	late    context.Context
	endLate context.CancelFunc
	ending  sync.Once

	links  *nameLinks // those of the device that have the name
	turn   turn       // of this replica, to order
	signed signedStatement
	ends   ends // that take note of visitors

	mu          sync.Mutex
	rules       framing.Rules
	validations map[string]*validations // by relay, with its port; visitors who come without one have some, too
	number      int                     // how often the rules were changed
	vain        time.Time               // when an order has waited in vain for all relays
	noCert      error                   // why the last order failed, while there is no certificate
	port        uint16                  // the public one, of a TCP port; 0 until it is known
}

// newListener returns the listener of a name, which nothing wants yet.
func newListener(d *Device, n Name, domain string, how served) *Listener {
	l := &Listener{d: d, cfg: n, domain: domain, how: how, conns: make(chan net.Conn), rules: n.Rules, links: newNameLinks()}
	l.turn.l = l
	l.ctx, l.cancel = context.WithCancelCause(d.ctx)
	l.late, l.endLate = context.WithCancel(d.late)
	return l
}

// isThrough reports whether the name may be served through a relay. Where a visitor
// comes from is the word of the relay that sends it: so no other relay of the device may
// send visitors of the name.
func (l *Listener) isThrough(relay string) bool {
	return l.place(relay) >= 0
}

// place is which of the name's relays one is, in their order; -1 is none of them.
func (l *Listener) place(relay string) int {
	host, port := splitRelay(relay)
	return slices.IndexFunc(l.relays, func(r string) bool {
		h, p := splitRelay(r)
		return h == host && p == port
	})
}

// Accept returns the next visitor's connection, a *tls.Conn, or with Raw a
// *framing.Stream. After Close it still returns those that the relays sent on
// before they knew, for lateTimeout at most; then its error wraps net.ErrClosed.
// Else the error is what will not pass.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.late.Done():
		return nil, &net.OpError{Op: "accept", Net: "keystay", Addr: l.Addr(), Err: context.Cause(l.ctx)}
	}
}

// Close takes no new visitors; the relays are told. Connections that were
// accepted live on, and the links to a relay as long as they do. The other names of
// the device are untouched. Close does not wait: see Shutdown. Go on with Accept
// until it fails, as http.Serve does, so that no visitor is lost. The name may be
// listened to anew at once.
func (l *Listener) Close() error {
	l.end(net.ErrClosed)
	return nil
}

// Shutdown closes the listener, waits until the accepted connections have
// ended or ctx ends, and cuts what is left. It returns an error that wraps ctx's
// when visitors had to be cut. For a listener of [Listen] it then waits until all of
// its device is gone.
func (l *Listener) Shutdown(ctx context.Context) error {
	if l.cfg.only {
		return l.d.Shutdown(ctx)
	}
	l.end(net.ErrClosed)
	return l.awaitVisitors(ctx)
}

// Visitors is how many visitors' connections are open that this listener has got, also
// where another one has the name by now.
func (l *Listener) Visitors() (n int) {
	if l.cfg.only {
		return l.d.Visitors()
	}
	for _, link := range l.d.allLinks() {
		n += link.CountStreams(l.isVisitor)
	}
	return n + l.d.home.count(l)
}

// SetToken takes the place of Config.Token from the next claim on. The token is the
// device's, and so that of all its names.
func (l *Listener) SetToken(token string) { l.d.SetToken(token) }

// Addr is the public name with its port.
func (l *Listener) Addr() net.Addr {
	if l.isPort() {
		return addr(l.publicName())
	}
	port, _ := l.publicPort()
	return addr(net.JoinHostPort(l.domain, strconv.Itoa(port)))
}

type addr string

func (addr) Network() string  { return "keystay" }
func (a addr) String() string { return string(a) }

// Domain is the public name. Of a TCP port it is the relay's name with the port that it
// has given, as in relay.net:20022, and before that the name that it is asked by.
func (l *Listener) Domain() string { return l.publicName() }

// linkUp notes that a link has the name, and what the relay said of it.
func (l *Listener) linkUp(link *framing.Link, claimed framing.Claimed) {
	var from time.Time
	if claimed.OrderIn > 0 {
		from = time.Now().Add(claimed.OrderIn)
	}
	if claimed.Port != 0 {
		l.mu.Lock()
		l.port = claimed.Port
		l.mu.Unlock()
	}
	if first := l.turn.linkUp(link, from); first && l.keeper != nil {
		l.keeper.Kick(l.domain) // a renewal may have come due while there was no session
	}
}

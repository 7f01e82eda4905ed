package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"keystay/acme"
	"keystay/framing"
	"keystay/internal/keyname"
)

// A Listener is a net.Listener of the connections to a public name. Each is a
// *tls.Conn after its handshake, or with Config.Raw a *framing.Stream before it,
// with the visitor's address as RemoteAddr.
type Listener struct {
	d      *device
	cfg    Config // of it Service, Replica, Rules, ACME, TLS and Raw
	domain string
	made   bool // the domain is made from the device's key
	unlock func() error
	tls    *tls.Config
	keeper *acme.Keeper // nil when a certificate was brought
	http01 *http.Server
	plain  chanListener  // HTTP-01 streams
	conns  chan net.Conn // for Accept

	mu       sync.Mutex
	up       chan struct{}               // closed while a session has the name
	links    map[*framing.Link]time.Time // those of the device that have the name, and from when a new certificate may be ordered
	ordering bool                        // it is this replica's turn to order
	noLink   error                       // why there is no session, while there is none
	noCert   error                       // why the last order failed, while there is no certificate
}

// listen adds a listener for the name of cfg, or the one made from the device's
// key. The first listener of a device brings the ways to its relays. It is for
// before start.
func (d *device) listen(cfg Config) (*Listener, error) {
	domain, how, err := d.state.choose(cfg)
	if err != nil {
		return nil, err
	}
	d.tellStrays()
	l := &Listener{d: d, cfg: cfg, domain: domain, conns: make(chan net.Conn), up: make(chan struct{}),
		links: make(map[*framing.Link]time.Time)}
	if len(d.ways) == 0 {
		if err := d.addWays(how, domain); err != nil {
			return nil, err
		}
	}
	if l.domain == "" {
		host, _ := splitRelay(how.Relays[0])
		l.domain = keyname.Label(d.state.key.Public().(ed25519.PublicKey), "") + "." + host
		l.made = true
	}
	if l.unlock, err = d.state.lockName(l.domain); err != nil {
		return nil, err
	}
	if err := l.openCertificate(); err != nil {
		l.unlock()
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners[l.domain] = l
	return l, nil
}

// Accept returns the next visitor's connection, a *tls.Conn, or with Config.Raw a
// *framing.Stream. After Close it still returns those that the relay sent on
// before it knew, for lateTimeout at most; then its error wraps net.ErrClosed.
// Else the error is what will not pass.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.d.late.Done():
		return nil, &net.OpError{Op: "accept", Net: "keystay", Addr: l.Addr(), Err: context.Cause(l.d.ctx)}
	}
}

// Close takes no new visitors; the relay is told. Connections that were
// accepted live on, and the links to the relay as long as they do. Close does
// not wait: see Shutdown. Go on with Accept until it fails, as http.Serve does,
// so that no visitor is lost.
func (l *Listener) Close() error {
	l.d.stop(net.ErrClosed) // which has this listener alone
	return nil
}

// Shutdown closes the listener, waits until the accepted connections have
// ended or ctx ends, cuts what is left, and waits until all is gone. It returns
// an error that wraps ctx's when visitors had to be cut.
func (l *Listener) Shutdown(ctx context.Context) error { return l.d.shutdown(ctx) }

// Visitors is how many visitors' connections are open.
func (l *Listener) Visitors() int { return l.d.visitors() }

// SetToken takes the place of Config.Token from the next claim on.
func (l *Listener) SetToken(token string) { l.d.setToken(token) }

// Addr is the public name with its port.
func (l *Listener) Addr() net.Addr {
	return addr(net.JoinHostPort(l.domain, strconv.Itoa(l.d.publicPort())))
}

type addr string

func (addr) Network() string  { return "keystay" }
func (a addr) String() string { return string(a) }

// Domain is the public name.
func (l *Listener) Domain() string { return l.domain }

// URL is the public address, with the port where it is not 443. The port is
// known once the relay has been reached.
func (l *Listener) URL() string {
	if p := l.d.publicPort(); p != 443 {
		return "https://" + net.JoinHostPort(l.domain, strconv.Itoa(p))
	}
	return "https://" + l.domain
}

// linkUp notes that a link has the name, and what the relay said of it.
func (l *Listener) linkUp(link *framing.Link, claimed framing.Claimed) {
	var from time.Time
	if claimed.OrderIn > 0 {
		from = time.Now().Add(claimed.OrderIn)
	}
	l.mu.Lock()
	first := len(l.links) == 0
	l.links[link] = from
	if first {
		close(l.up)
		l.noLink = nil
	}
	ordering := l.ordering
	l.mu.Unlock()
	if ordering { // it began before this link came up
		go func() { _, _ = link.Order(l.d.ctx, l.domain) }() // nothing depends on it
	}
	if first && l.keeper != nil {
		l.keeper.Kick() // a renewal may have come due while there was no session
	}
}

// linkDown notes that a link does not have the name any more.
func (l *Listener) linkDown(link *framing.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, link)
	if len(l.links) == 0 {
		l.up = make(chan struct{})
	}
}

// noteLoss keeps why no link has the name, for Wait.
func (l *Listener) noteLoss(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noLink = err
}

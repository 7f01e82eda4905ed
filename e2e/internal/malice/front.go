// Package malice is an operator who has left the path: it stands where a relay's public
// address is, ends the TLS of visitors that it picks, with a certificate of its own for
// their name, reads what they say, and passes it on. All others reach the relay as if
// it were not there. It is what the device's watch has to find.
package malice

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"keystay/e2e/internal/shape"
	"keystay/sni"
)

// acmeProtocol is what a CA's validation by TLS-ALPN-01 offers, alone (RFC 8737).
const acmeProtocol = "acme-tls/1"

// A Front listens in on one name. Its fields are set before Serve.
type Front struct {
	// Name is the name whose visitors it picks from.
	Name string

	// TLS has the front's own certificate for Name, and answers a CA's validations
	// while Ordering.
	TLS *tls.Config

	// Dial connects to the real relay.
	Dial func(ctx context.Context) (net.Conn, error)

	// Ordering lets a CA's validations of Name come to the front and not to the device.
	Ordering atomic.Bool

	mu        sync.Mutex
	pick      Intercept
	read      bytes.Buffer
	conns     map[net.Conn]struct{}
	closed    bool
	listening []net.Listener
	visits    sync.WaitGroup
	picked    int
	passed    int
}

// Pick has the front listen in on the visitors that f picks from now on, one by one;
// with nil on none.
func (f *Front) Pick(i Intercept) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pick = i
}

// Counts returns how many visitors of Name the front has listened in on, and how many
// of any name it has passed on.
func (f *Front) Counts() (picked, passed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.picked, f.passed
}

// Read returns what the visitors have said that the front has listened in on.
func (f *Front) Read() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read.String()
}

// Serve takes visitors from ln until Close, which closes ln.
func (f *Front) Serve(ln net.Listener) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		ln.Close()
		return net.ErrClosed
	}
	f.listening = append(f.listening, ln)
	f.mu.Unlock()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if f.hold(c) {
			f.visits.Go(func() {
				defer f.drop(c)
				f.visit(c)
			})
		}
	}
}

// Close ends the front with all its connections.
func (f *Front) Close() {
	f.mu.Lock()
	f.closed = true
	for _, ln := range f.listening {
		ln.Close()
	}
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.visits.Wait()
}

// hold keeps a connection for Close, and reports whether that has not come yet; else
// it is closed.
func (f *Front) hold(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
		return false
	}
	if f.conns == nil {
		f.conns = make(map[net.Conn]struct{})
	}
	f.conns[c] = struct{}{}
	return true
}

// drop closes a connection that hold keeps.
func (f *Front) drop(c net.Conn) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// visit serves one connection: it is picked, or passed on.
func (f *Front) visit(c net.Conn) {
	hello, err := sni.Read(c, nil)
	first := &begun{Conn: c, first: bytes.NewReader(hello.Raw)}
	name, _ := hello.Name()
	switch validation := hello.OnlyALPN(acmeProtocol); {
	case err != nil || name != f.Name:
		f.pass(first)
	case validation && f.Ordering.Load():
		_ = tls.Server(first, f.TLS).Handshake() // which is all that the CA wants
	case !validation && f.picks(hello.Raw, c.RemoteAddr()):
		f.listenIn(first)
	default:
		f.pass(first)
	}
}

// picks asks the Intercept of the moment, and counts its answer.
func (f *Front) picks(hello []byte, from net.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, _ := shape.Of(hello) // what is no hello of one record looks like nothing
	ap, _ := netip.ParseAddrPort(from.String())
	if f.pick == nil || !f.pick(s, ap.Addr().Unmap(), time.Now()) {
		return false
	}
	f.picked++
	return true
}

// pass carries a visitor to the relay, its hello included.
func (f *Front) pass(c *begun) {
	f.mu.Lock()
	f.passed++
	f.mu.Unlock()
	relay, err := f.Dial(context.Background())
	if err != nil || !f.hold(relay) {
		return
	}
	defer f.drop(relay)
	carry(c, relay, nil)
}

// listenIn ends a visitor's TLS, and goes to the relay as a visitor of its own with
// what the visitor says.
func (f *Front) listenIn(c *begun) {
	visitor := tls.Server(c, f.TLS)
	if visitor.Handshake() != nil {
		return
	}
	raw, err := f.Dial(context.Background())
	if err != nil || !f.hold(raw) {
		return
	}
	defer f.drop(raw)
	onward := &tls.Config{ServerName: f.Name, InsecureSkipVerify: true} // it knows where it goes
	if p := visitor.ConnectionState().NegotiatedProtocol; p != "" {
		onward.NextProtos = []string{p}
	}
	device := tls.Client(raw, onward)
	if device.Handshake() != nil {
		return
	}
	carry(visitor, device, f.note)
}

// noted is how much is kept of what is read.
const noted = 64 << 10

// note keeps what a visitor says.
func (f *Front) note(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read.Len() < noted {
		f.read.Write(b)
	}
}

// carry copies both ways until both have ended. The function note, which may be nil,
// gets what a says.
func carry(a, b net.Conn, note func([]byte)) {
	var wg sync.WaitGroup
	wg.Go(func() { carryOne(b, a, note) })
	carryOne(a, b, nil)
	wg.Wait()
}

// carryOne copies one way, and ends to as from has ended.
func carryOne(to, from net.Conn, note func([]byte)) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if note != nil && n > 0 {
			note(b[:n])
		}
		if _, werr := to.Write(b[:n]); n > 0 && werr != nil {
			err = werr
		}
		switch {
		case err == io.EOF:
			to.(interface{ CloseWrite() error }).CloseWrite()
			return
		case err != nil:
			to.Close()
			from.Close()
			return
		}
	}
}

// begun is a connection whose first bytes have been read.
type begun struct {
	net.Conn
	first *bytes.Reader
}

// Read implements net.Conn.
func (c *begun) Read(p []byte) (int, error) {
	if c.first.Len() > 0 {
		return c.first.Read(p)
	}
	return c.Conn.Read(p)
}

// CloseWrite ends what this end says.
func (c *begun) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

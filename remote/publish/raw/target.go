// Package raw hands visitors' connections on to a local service that does not
// speak HTTP: databases, MQTT, SSH, or any server that ends TLS by itself.
//
// Each visitor gets one connection to the service, with its ends and resets kept
// in both directions.
package raw

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/outage"
	"keystay/internal/panics"
	"keystay/internal/socket"
	"keystay/internal/unheard"
)

const (
	// DefaultMaxVisitors is how many visitors of a Target are there at once, where
	// MaxVisitors does not say.
	DefaultMaxVisitors = 4096
	// DialTimeout is how long the service may take to answer a dial, at each of its
	// addresses.
	DialTimeout = 10 * time.Second
	// headerTimeout is how long the service may take to take in the PROXY header,
	// which is less than a socket's buffer.
	headerTimeout = 10 * time.Second
	// handshakeTimeout is how long a visitor's TLS handshake may take that was not
	// over when the visitor was accepted.
	handshakeTimeout = 15 * time.Second
)

// A Target is a local service that gets visitors' bytes as they are: what is
// inside of the visitors' TLS, or with TLS still around it.
//
// Its fields are not changed once visitors come.
type Target struct {
	// TLS says that the service ends TLS itself: visitors' connections come with
	// it still around them.
	TLS bool

	// Network is "tcp" or "unix", and Addresses what to dial, in order.
	Network   string
	Addresses []string

	// ProxyProtocol is the version of the PROXY protocol header that the service
	// gets in front of each connection, 1 or 2; 0 is none.
	ProxyProtocol int

	// Name is the public name, for the PROXY header. Where it is empty the header
	// has the server name of the visitor's TLS, if that was ended here.
	Name string

	// TrustPrivateAddresses tells the service also addresses of visitors that
	// cannot come from the internet, such as 127.0.0.1 and 192.168.0.0/16: for a
	// relay in one's own network. Else the PROXY header has 192.0.0.8 in their place,
	// since the address is the relay's word and services often trust these.
	TrustPrivateAddresses bool

	// MaxVisitors is how many visitors may be there at once: the next one is
	// refused. 0 means DefaultMaxVisitors.
	MaxVisitors int

	// Logger hears when the service does not answer; nil discards.
	Logger *slog.Logger

	silence outage.Outage // while the service cannot be reached
	noTLS   atomic.Bool   // the last look could dial, and no more: a dial does not end the silence
	crowd   outage.Outage // of visitors
	once    sync.Once
	caught  *panics.Log // made once

	mu        sync.Mutex
	visits    map[*visit]struct{}
	listeners map[net.Listener]struct{}
	over      bool           // Shutdown or Close was called
	wg        sync.WaitGroup // of visits; nothing is added once over is set
}

// String is the target as --local has it.
func (t *Target) String() string {
	scheme, address := "tcp://", t.host()
	if t.TLS {
		scheme = "tls://"
	}
	if t.Network == "unix" {
		address = "unix:" + address
	}
	return scheme + address
}

// Serve hands the visitors that ln accepts on to the service, each in a goroutine
// of its own, until ln fails, and returns that error; after Shutdown or Close it
// wraps net.ErrClosed. Visitors who are there stay. Serve may run for several
// listeners at once.
func (t *Target) Serve(ln net.Listener) error {
	if !t.listen(ln) {
		ln.Close()
		return fmt.Errorf("serve %v: %w", t, net.ErrClosed)
	}
	defer t.unlisten(ln)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go t.ServeConn(c)
	}
}

func (t *Target) listen(ln net.Listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	if t.listeners == nil {
		t.listeners = make(map[net.Listener]struct{})
	}
	t.listeners[ln] = struct{}{}
	return true
}

func (t *Target) unlisten(ln net.Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.listeners, ln)
}

// ServeConn hands one visitor on to the service, and returns when it has left. It
// closes c. One without the method CloseWrite is reset, and so is one visitor too
// many.
func (t *Target) ServeConn(c net.Conn) {
	visitor, ok := c.(duplex.Conn)
	if !ok {
		socket.Abort(c)
		return
	}
	ctx, leave := t.enter(c)
	if leave == nil {
		socket.Abort(c)
		return
	}
	defer leave()
	caught := t.panics()
	defer caught.Catch("serving a visitor", func() { socket.Abort(c) })
	if shake(ctx, c) != nil {
		c.Close()
		return
	}
	header, err := t.header(c)
	if err == nil {
		var service duplex.Conn
		if service, err = t.dial(ctx, header); err == nil {
			if !t.noTLS.Load() {
				t.answers()
			}
			if tc, ended := c.(*tls.Conn); ended {
				visitor = unheard.NewConn(tc)
			}
			duplex.Copy(visitor, service, duplex.Options{Panics: caught})
			return
		}
	}
	if ctx.Err() == nil { // nobody has cut the visitor
		t.note(err)
	}
	t.refuse(visitor)
}

// shake does the TLS handshake with a visitor, where TLS is ended here and that is
// not over yet.
func shake(ctx context.Context, c net.Conn) error {
	tc, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return tc.HandshakeContext(ctx)
}

// A visit is a visitor who is there. Its cancel ends what it waits for.
type visit struct {
	conn   net.Conn
	cancel context.CancelFunc
}

// enter counts a visitor, unless there are too many, or it is over. Its context
// ends when the visitor is cut.
func (t *Target) enter(c net.Conn) (ctx context.Context, leave func()) {
	most := t.MaxVisitors
	if most <= 0 {
		most = DefaultMaxVisitors
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return nil, nil
	}
	if len(t.visits) >= most {
		t.tellCrowd(most)
		return nil, nil
	}
	if t.visits == nil {
		t.visits = make(map[*visit]struct{})
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &visit{c, cancel}
	t.visits[v] = struct{}{}
	t.wg.Add(1)
	return ctx, func() {
		t.mu.Lock()
		delete(t.visits, v)
		t.mu.Unlock()
		cancel()
		t.wg.Done()
	}
}

// Visitors is how many visitors are there.
func (t *Target) Visitors() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.visits)
}

// Shutdown closes the listeners that are served, waits until the visitors have
// left or ctx ends, cuts those who are left by a reset, and waits until all is
// gone. It returns an error that wraps ctx's when visitors had to be cut.
func (t *Target) Shutdown(ctx context.Context) error {
	t.stop()
	gone := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	n := t.cut()
	<-gone
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d visitors of %v were cut: %w", n, t, ctx.Err())
}

// Close closes the listeners that are served, cuts the visitors by a reset, and
// waits until they are gone.
func (t *Target) Close() error {
	t.stop()
	t.cut()
	t.wg.Wait()
	return nil
}

func (t *Target) stop() {
	t.mu.Lock()
	t.over = true
	listeners := t.listeners
	t.listeners = nil
	t.mu.Unlock()
	for ln := range listeners {
		ln.Close()
	}
}

// cut resets all visitors and returns how many there were.
func (t *Target) cut() int {
	t.mu.Lock()
	cut := slices.Collect(maps.Keys(t.visits))
	t.mu.Unlock()
	for _, v := range cut {
		socket.Abort(v.conn) // first: a handshake that is cancelled ends in good order
		v.cancel()
	}
	return len(cut)
}

// dial reaches the service at the first of its addresses that answers, and says
// the PROXY header to it.
func (t *Target) dial(ctx context.Context, header []byte) (duplex.Conn, error) {
	d := net.Dialer{Timeout: DialTimeout}
	var errs []error
	for _, a := range t.Addresses {
		c, err := d.DialContext(ctx, t.Network, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(header) > 0 {
			c.SetWriteDeadline(time.Now().Add(headerTimeout))
			if _, err := c.Write(header); err != nil {
				socket.Abort(c)
				return nil, err
			}
			c.SetWriteDeadline(time.Time{})
		}
		return c.(duplex.Conn), nil // it is one of TCP or a unix socket
	}
	if len(errs) == 0 {
		return nil, errNoAddress
	}
	return nil, errors.Join(errs...)
}

var errNoAddress = errors.New("the target has no address")

func (t *Target) panics() *panics.Log {
	t.once.Do(func() { t.caught = &panics.Log{Logger: t.log()} })
	return t.caught
}

func (t *Target) log() *slog.Logger {
	if t.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Logger
}

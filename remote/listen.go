package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	"keystay/acme"
	"keystay/framing"
	"keystay/internal/keyname"
)

// Config says which name to serve, through which relay, with what certificate.
// Only StateDir is required, and Domain or Relay at the first start.
type Config struct {
	// Domain is the public name, in lower case, without a trailing dot. Empty
	// means the name made from the device's key below Relay.
	Domain string

	// Relay is the relay's name, with a port if it is not 443. Empty means the
	// first that answers among Domain's parents; without Domain, the relay of
	// the first success.
	Relay string

	// RelayAddress is the host:port to dial instead of Relay's own; Relay's
	// name is still what is verified.
	RelayAddress string

	// RelayRoots are trusted for the relay's certificate; nil means the system's.
	RelayRoots *x509.CertPool

	// Transport is how the relay is reached; empty means TransportAuto.
	Transport Transport

	// Proxy chooses a proxy for the relay, and for the CA where ACME has none
	// of its own; nil means the convention of the environment (HTTPS_PROXY and
	// NO_PROXY). The request has nothing but the relay's URL. The kinds are
	// those of net/http.Transport.
	Proxy func(*http.Request) (*url.URL, error)

	// Token is what the relay's operator gave out, or empty.
	Token string

	// StateDir holds the identity, the ACME account and the certificates. It
	// is made with mode 0700.
	StateDir string

	// ACME says how the certificate is obtained. Dir, Ready and, if nil,
	// Logger are set by Listen.
	ACME acme.Config

	// TLS is used instead of ACME where a certificate is brought along.
	TLS *tls.Config

	// Version is told to the relay, for people.
	Version string

	// Logger hears what happens, and nothing of visitors; nil discards.
	Logger *slog.Logger
}

// A Listener is a net.Listener of the connections to a public name. Each is a
// *tls.Conn after its handshake, with the visitor's address as RemoteAddr.
type Listener struct {
	cfg    Config
	log    *slog.Logger
	state  *state
	unlock func() error
	domain string
	relays []string // in the order to try
	over   transports
	tls    *tls.Config
	keeper *acme.Keeper // nil when a certificate was brought
	http01 *http.Server
	plain  chanListener // HTTP-01 streams

	ctx    context.Context // ends with Close, or a final error
	cancel context.CancelCauseFunc
	cut    context.Context // ends when nothing is served any more
	cutAll context.CancelFunc
	conns  chan net.Conn
	wg     sync.WaitGroup

	mu      sync.Mutex
	port    int           // the relay's public port, 0 until it is known
	up      chan struct{} // closed while a session holds the name
	isUp    bool
	links   map[*framing.Link]struct{}
	stopped bool
	noLink  error // why there is no session, while there is none
	noCert  error // why the last order failed, while there is no certificate
}

// Listen begins to serve a name. It returns at once, before the relay has been
// reached: Wait tells when the name answers. What goes wrong and may pass is
// tried again for ever; what will not pass is returned by Accept and Wait, such
// as a *framing.Denial. The error of Listen is an *InUseError when another
// process on this device serves the name.
func Listen(cfg Config) (*Listener, error) {
	l := &Listener{cfg: cfg, log: cfg.Logger, conns: make(chan net.Conn), up: make(chan struct{}), links: make(map[*framing.Link]struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if cfg.StateDir == "" {
		return nil, errors.New("listen: no state directory given")
	}
	var err error
	switch cfg.Transport {
	case "", TransportAuto, TransportTLS, TransportWSS:
	default:
		return nil, fmt.Errorf("listen: no transport is called %q", cfg.Transport)
	}
	if l.state, err = openState(cfg.StateDir); err != nil {
		return nil, err
	}
	l.over.init(cfg.Transport, l.state)
	if err := l.chooseName(); err != nil {
		return nil, err
	}
	if l.unlock, err = l.state.lockName(l.domain); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.cut, l.cutAll = context.WithCancel(context.Background())
	if err := l.startTLS(); err != nil {
		l.cancel(err)
		l.cutAll()
		l.unlock()
		return nil, err
	}
	l.wg.Go(l.run)
	return l, nil
}

// chooseName decides the public name and the relays to try.
func (l *Listener) chooseName() error {
	relay := l.cfg.Relay
	if relay == "" && l.cfg.Domain == "" {
		relay = l.state.rememberedRelay()
	}
	if relay != "" {
		l.relays = []string{relay}
	} else {
		l.relays = climb(l.cfg.Domain)
	}
	if len(l.relays) == 0 {
		if l.cfg.Domain == "" {
			return ErrNoRelay
		}
		return fmt.Errorf("%s: no name above it can be a relay: %w", l.cfg.Domain, ErrNoRelay)
	}
	l.domain = l.cfg.Domain
	if l.domain == "" {
		host, _ := splitRelay(relay)
		l.domain = keyname.Label(l.state.key.Public().(ed25519.PublicKey), "") + "." + host
	}
	return nil
}

// ErrNoRelay is wrapped by the error of a configuration that leads to no relay.
var ErrNoRelay = errors.New("no relay given")

// startTLS prepares the certificate: from ACME, or the one brought along.
func (l *Listener) startTLS() error {
	if l.cfg.TLS != nil {
		l.tls = l.cfg.TLS
		return nil
	}
	c := l.cfg.ACME
	c.Dir = filepath.Join(l.state.dir, acmeDir)
	c.Ready = func(ctx context.Context, _ string) error { return l.waitUp(ctx) }
	if c.Logger == nil {
		c.Logger = l.log
	}
	if c.Proxy == nil {
		c.Proxy = l.cfg.Proxy
	}
	notify := c.Notify
	c.Notify = func(e acme.Event) {
		if e.Kind == acme.Failed || e.Kind == acme.Obtained {
			l.mu.Lock()
			l.noCert = e.Err
			l.mu.Unlock()
		}
		if notify != nil {
			notify(e)
		}
	}
	var err error
	if l.keeper, err = acme.New(c); err != nil {
		return err
	}
	if err := l.keeper.Manage(l.domain); err != nil {
		l.keeper.Close()
		return err
	}
	l.tls = l.keeper.TLSConfig()
	l.plain.init()
	l.http01 = &http.Server{
		Handler:           l.keeper.HTTPChallenge(nil),
		ReadHeaderTimeout: handshakeTimeout,
		WriteTimeout:      handshakeTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	l.wg.Go(func() { l.http01.Serve(&l.plain) })
	return nil
}

// Wait returns nil once a session holds the name and a valid certificate is
// loaded. It returns what will not pass; or, when ctx ends, its error with what
// was missing.
func (l *Listener) Wait(ctx context.Context) error {
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	err := l.waitUp(both)
	if err == nil && l.keeper != nil {
		err = l.keeper.Wait(both, l.domain)
	}
	switch {
	case err == nil:
		return nil
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case ctx.Err() != nil:
		return l.missing(ctx.Err())
	}
	return err
}

// missing says with err what keeps the name from answering.
func (l *Listener) missing(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.isUp && l.noCert != nil:
		return fmt.Errorf("%w: no certificate: %w", err, l.noCert)
	case l.isUp:
		return fmt.Errorf("%w: no certificate yet", err)
	case l.noLink != nil:
		return fmt.Errorf("%w: no session: %w", err, l.noLink)
	}
	return fmt.Errorf("%w: no session yet", err)
}

// waitUp waits until a session holds the name.
func (l *Listener) waitUp(ctx context.Context) error {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// setUp notes whether a session holds the name.
func (l *Listener) setUp(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case up && !l.isUp:
		close(l.up)
		l.noLink = nil
	case !up && l.isUp:
		l.up = make(chan struct{})
	}
	l.isUp = up
}

// Accept returns the next visitor's connection, a *tls.Conn. After Close its
// error wraps net.ErrClosed; else it is what will not pass.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, &net.OpError{Op: "accept", Net: "keystay", Addr: l.Addr(), Err: context.Cause(l.ctx)}
	}
}

// Close takes no new visitors; the relay is told. Connections that were
// accepted live on, and the links to the relay as long as they do. Close does
// not wait: see Shutdown.
func (l *Listener) Close() error {
	l.stop(net.ErrClosed)
	return nil
}

// Shutdown closes the listener, waits until the accepted connections have
// ended or ctx ends, cuts what is left, and waits until all is gone. It returns
// ctx's error when something had to be cut.
func (l *Listener) Shutdown(ctx context.Context) error {
	l.stop(net.ErrClosed)
	defer context.AfterFunc(ctx, l.cutAll)()
	l.wg.Wait()
	return ctx.Err()
}

// stop ends the listener for the given reason, once.
func (l *Listener) stop(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	l.cancel(reason)
	l.wg.Go(l.drain)
}

// drain tells the relay, waits for the streams that are open, and then ends
// everything.
func (l *Listener) drain() {
	l.mu.Lock()
	links := make([]*framing.Link, 0, len(l.links))
	for link := range l.links {
		links = append(links, link)
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, link := range links {
		wg.Go(func() {
			link.GoAway(l.cut, framing.GoAway{Code: framing.GoAwayShutdown, Text: "the remote stops"})
			link.WaitIdle(l.cut)
			link.Close()
		})
	}
	wg.Wait()
	if l.keeper != nil {
		l.plain.Close()
		l.http01.Close()
		l.keeper.Close()
	}
	l.cutAll()
	l.unlock()
}

// Addr is the public name with its port.
func (l *Listener) Addr() net.Addr {
	return addr(net.JoinHostPort(l.domain, strconv.Itoa(l.publicPort())))
}

type addr string

func (addr) Network() string  { return "keystay" }
func (a addr) String() string { return string(a) }

// Domain is the public name.
func (l *Listener) Domain() string { return l.domain }

// URL is the public address, with the port where it is not 443. The port is
// known once the relay has been reached.
func (l *Listener) URL() string {
	if p := l.publicPort(); p != 443 {
		return "https://" + net.JoinHostPort(l.domain, strconv.Itoa(p))
	}
	return "https://" + l.domain
}

func (l *Listener) publicPort() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port == 0 {
		return 443
	}
	return l.port
}

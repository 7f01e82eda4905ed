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
	"time"

	"keystay/acme"
	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/panics"
)

// Config says which name to serve, through which relay, with what certificate.
// Only StateDir is required, and Domain or Relay at the first start.
type Config struct {
	// Domain is the public name, in lower case, without a trailing dot. Empty
	// means the name made from the device's key below the first of Relays.
	// Without Relays too, it means the name that was last served from StateDir
	// with the same Service, or the only one that was served from there.
	Domain string

	// Relays are the names of the relays to serve the name through, all at
	// once, each with a port if it is not 443. Empty means those that gave
	// Domain before. At the first start it means the first relay among the
	// names above Domain, beginning with the registrable domain.
	Relays []string

	// Service says what stands behind the name, such as its local address. It
	// is only remembered, for a later start without Domain and Relays.
	Service string

	// RelayAddresses are what to dial, host:port, instead of the relays' own
	// addresses; the relay's name is still what is verified. With one relay all
	// are its addresses, else there are as many as relays, in their order.
	RelayAddresses []string

	// Links is how many links are kept to each relay, to different addresses of
	// it where there are several; 0 means DefaultLinks.
	Links int

	// Replica lets other runs of the same identity serve the name too, if they
	// are replicas as well.
	Replica bool

	// RelayRoots are trusted for the relay's certificate; nil means the system's.
	RelayRoots *x509.CertPool

	// Transport is how the relay is reached; empty means TransportAuto.
	Transport Transport

	// NoLanes keeps the bytes of all visitors on the links. Otherwise a
	// visitor's connection that turns out to be bulk moves to one of its own,
	// a lane, if the relay has them and is reached directly over TLS.
	NoLanes bool

	// MaxVisitors is how many visitors' connections there may be at once. Further
	// ones are refused. 0 means DefaultMaxVisitors.
	MaxVisitors int

	// LaneAfter is how many bytes in one direction make a visitor's connection
	// bulk; 0 means DefaultLaneAfter.
	LaneAfter int64

	// Proxy chooses a proxy for the relay, and for the CA where ACME has none
	// of its own; nil means the convention of the environment (HTTPS_PROXY and
	// NO_PROXY). The request has nothing but the relay's URL. The kinds are
	// those of net/http.Transport.
	Proxy func(*http.Request) (*url.URL, error)

	// Token is what the relay's operator gave out, or empty. It is sent to a
	// relay that is named in Relays, that was named there when it gave Domain
	// before, or that is Domain's registrable domain. No other relay gets it.
	Token string

	// StateDir holds the identity, the ACME account and the certificates. It
	// is made with mode 0700.
	StateDir string

	// ACME says how the certificate is obtained. Dir, Ready and, if nil,
	// Logger are set by Listen.
	ACME acme.Config

	// TLS is used instead of ACME where a certificate is brought along.
	TLS *tls.Config

	// Raw leaves the visitors' TLS to the caller: Accept returns each connection
	// as a *framing.Stream, still encrypted, beginning with the ClientHello. No
	// certificate is ordered, and ACME and TLS are not used. A CA that validates
	// by TLS-ALPN-01 comes as one more visitor; HTTP-01 is refused.
	Raw bool

	// Version is told to the relay, for people.
	Version string

	// Logger hears what happens, and nothing of visitors; nil discards.
	Logger *slog.Logger
}

// A Listener is a net.Listener of the connections to a public name. Each is a
// *tls.Conn after its handshake, or with Config.Raw a *framing.Stream before it,
// with the visitor's address as RemoteAddr.
type Listener struct {
	cfg        Config
	log        *slog.Logger
	panics     *panics.Log
	state      *state
	unlock     func() error
	domain     string
	made       bool // the domain is made from the device's key
	ways       []*way
	transports transports
	tls        *tls.Config
	keeper     *acme.Keeper // nil when a certificate was brought
	http01     *http.Server
	plain      chanListener // HTTP-01 streams
	alarm      alarm        // after sleep, or on another network
	loss       pathLoss     // to the relays
	full       outage       // while there are too many visitors

	ctx    context.Context // ends with Close, or a final error
	cancel context.CancelCauseFunc
	cut    context.Context // ends when nothing is served any more
	cutAll context.CancelFunc
	conns  chan net.Conn
	wg     sync.WaitGroup

	late     context.Context // ends when, after ctx, no connection will come any more
	endLate  context.CancelFunc
	arriving sync.WaitGroup // links that accept, and visitors on their way to Accept

	mu       sync.Mutex
	port     int           // the relay's public port, 0 until it is known
	up       chan struct{} // closed while a session has the name
	links    map[*framing.Link]struct{}
	serving  map[*framing.Link]struct{} // those of links that have the name
	ordering bool                       // it is this replica's turn to order
	stopped  bool
	noLink   error  // why there is no session, while there is none
	noCert   error  // why the last order failed, while there is no certificate
	token    string // see SetToken
}

// Listen begins to serve a name. It returns at once, before the relay has been
// reached: Wait tells when the name answers. What goes wrong and may pass is
// tried again for ever; what will not pass is returned by Accept and Wait, such
// as a *framing.Denial. The error of Listen is an *InUseError when another
// process on this device serves the name.
func Listen(cfg Config) (*Listener, error) {
	l := &Listener{cfg: cfg, log: cfg.Logger, token: cfg.Token, conns: make(chan net.Conn), up: make(chan struct{}),
		links: make(map[*framing.Link]struct{}), serving: make(map[*framing.Link]struct{})}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.panics = &panics.Log{Logger: l.log}
	if cfg.StateDir == "" {
		return nil, errors.New("listen: no state directory given")
	}
	var err error
	switch cfg.Transport {
	case "", TransportAuto, TransportTLS, TransportWSS:
	default:
		return nil, fmt.Errorf("listen: no transport is called %q", cfg.Transport)
	}
	// A mistake of usage writes nothing.
	if _, _, err := (&state{dir: cfg.StateDir}).choose(cfg); err != nil {
		return nil, err
	}
	if l.state, err = openState(cfg.StateDir); err != nil {
		return nil, err
	}
	for _, err := range l.state.strays {
		l.log.Warn(err.Error(), hint.Attr(hint.All(err)))
	}
	l.transports.init(cfg.Transport, l.state)
	if err := l.chooseName(); err != nil {
		return nil, err
	}
	if l.unlock, err = l.state.lockName(l.domain); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.cut, l.cutAll = context.WithCancel(context.Background())
	l.late, l.endLate = context.WithCancel(l.cut)
	if err := l.openCertificate(); err != nil {
		l.cancel(err)
		l.cutAll()
		l.unlock()
		return nil, err
	}
	l.wg.Go(l.run)
	l.wg.Go(l.watch)
	return l, nil
}

// chooseName decides the public name and the relays to try.
func (l *Listener) chooseName() error {
	domain, how, err := l.state.choose(l.cfg)
	if err != nil {
		return err
	}
	l.domain = domain
	relays, addresses := how.Relays, l.cfg.RelayAddresses
	if len(relays) > 1 && len(addresses) > 0 && len(addresses) != len(relays) {
		return fmt.Errorf("listen: %d relays and %d addresses of them", len(relays), len(addresses))
	}
	for i, relay := range relays {
		w := &way{l: l, candidates: []string{relay}, named: how.Named, addresses: addresses}
		if len(relays) > 1 && len(addresses) > 0 {
			w.addresses = addresses[i : i+1]
		}
		l.ways = append(l.ways, w)
	}
	if l.domain == "" {
		host, _ := splitRelay(relays[0])
		l.domain = keyname.Label(l.state.key.Public().(ed25519.PublicKey), "") + "." + host
		l.made = true
	}
	if len(l.ways) == 0 {
		candidates := climb(l.domain)
		if len(candidates) == 0 {
			return fmt.Errorf("%s: %w", l.domain, errNoneAbove)
		}
		l.ways = []*way{{l: l, candidates: candidates, addresses: addresses}}
	}
	return nil
}

// run serves through all relays until the listener ends, or none of them will
// serve the name.
func (l *Listener) run() {
	links := l.cfg.Links
	if links == 0 {
		links = DefaultLinks
	}
	errs := make(chan error, len(l.ways))
	for _, w := range l.ways {
		l.wg.Go(func() {
			err := w.run(links)
			var d *framing.Denial
			if errors.As(err, &d) && d.Code == framing.DeniedReplaced {
				l.stop(err) // at one relay is everywhere: two runs must not fight
			}
			errs <- err
		})
	}
	var last error
	for range l.ways {
		last = <-errs
	}
	l.stop(last)
}

// ErrNoRelay is wrapped by the error of a configuration that leads to no relay.
var ErrNoRelay = errors.New("no relay given")

// errNoneAbove is the ErrNoRelay of a name from which nothing is left to climb to.
var errNoneAbove = fmt.Errorf("no name above it can be a relay, and %w", ErrNoRelay)

// openCertificate prepares the certificate: from ACME, or the one brought along.
func (l *Listener) openCertificate() error {
	if l.cfg.Raw {
		return nil
	}
	if l.cfg.TLS != nil {
		l.tls = l.cfg.TLS
		return nil
	}
	c := l.cfg.ACME
	c.Dir = filepath.Join(l.state.dir, acmeDir)
	c.Ready = l.ready
	if c.Logger == nil {
		c.Logger = l.log
	}
	if c.Proxy == nil {
		c.Proxy = l.cfg.Proxy
	}
	notify := c.Notify
	c.Notify = func(e acme.Event) {
		l.noteOrder(e)
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
	l.tls = withName(l.keeper.TLSConfig(), l.domain)
	l.plain.init()
	l.http01 = &http.Server{
		Handler:           l.keeper.HTTPChallenge(nil),
		ReadHeaderTimeout: visitorHandshakeTimeout,
		WriteTimeout:      visitorHandshakeTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	l.wg.Go(func() { l.http01.Serve(&l.plain) })
	return nil
}

// Accept returns the next visitor's connection, a *tls.Conn, or with Config.Raw a
// *framing.Stream. After Close it
// still returns those that the relay sent on before it knew, for lateTimeout at
// most; then its error wraps net.ErrClosed. Else the error is what will not pass.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.late.Done():
		return nil, &net.OpError{Op: "accept", Net: "keystay", Addr: l.Addr(), Err: context.Cause(l.ctx)}
	}
}

// lateTimeout is how long a visitor that was on its way when the listener
// closed may take to reach Accept.
const lateTimeout = 5 * time.Second

// Close takes no new visitors; the relay is told. Connections that were
// accepted live on, and the links to the relay as long as they do. Close does
// not wait: see Shutdown. Go on with Accept until it fails, as http.Serve does,
// so that no visitor is lost.
func (l *Listener) Close() error {
	l.stop(net.ErrClosed)
	return nil
}

// Shutdown closes the listener, waits until the accepted connections have
// ended or ctx ends, cuts what is left, and waits until all is gone. It returns
// an error that wraps ctx's when visitors had to be cut.
func (l *Listener) Shutdown(ctx context.Context) error {
	l.stop(net.ErrClosed)
	cut := 0
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		cut = l.Visitors()
		l.cutAll()
	})
	l.wg.Wait()
	if stop() {
		return nil
	}
	if <-done; cut == 0 {
		return nil
	}
	return fmt.Errorf("%d of them: %w", cut, ctx.Err())
}

// Visitors is how many visitors' connections are open.
func (l *Listener) Visitors() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for link := range l.links {
		n += link.NumStreams()
	}
	return n
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
	late := time.AfterFunc(lateTimeout, l.endLate)
	l.wg.Go(func() {
		l.arriving.Wait()
		late.Stop()
		l.endLate()
	})
	var wg sync.WaitGroup
	for _, link := range links {
		wg.Go(func() {
			link.GoAway(l.late, framing.GoAway{Code: framing.GoAwayShutdown, Text: "the remote stops"})
			<-l.late.Done()
			link.WaitIdle(l.cut)
			link.CutLanes()
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

// Certificate is what visitors are shown now, or nil while there is none.
func (l *Listener) Certificate() *x509.Certificate {
	if l.tls.GetCertificate == nil {
		if len(l.tls.Certificates) == 0 {
			return nil
		}
		return l.tls.Certificates[0].Leaf
	}
	c, err := l.tls.GetCertificate(&tls.ClientHelloInfo{ServerName: l.domain})
	if err != nil || c == nil {
		return nil
	}
	return c.Leaf
}

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

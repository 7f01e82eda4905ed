package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keystay/acme"
	"keystay/internal/proxydial"
)

// orders is what a device orders certificates with, for all its names. It is made with
// the first name that needs it.
type orders struct {
	d     *Device
	turns turnPace

	mu     sync.Mutex
	keeper *acme.Keeper
	http01 *http.Server
	plain  chanListener // HTTP-01 streams
	closed bool
}

// open returns the device's keeper of certificates.
func (o *orders) open() (*acme.Keeper, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, fmt.Errorf("listen: %w", net.ErrClosed)
	case o.keeper != nil:
		return o.keeper, nil
	}
	d := o.d
	c := d.cfg.ACME
	c.Dir = ACMEDir(d.state.dir)
	c.Ready, c.Hold = o.ready, o.hold
	if d.cfg.Replica {
		c.Turn = o.turn
	}
	if c.Logger == nil {
		c.Logger = d.log
	}
	if c.Proxy == nil {
		c.Proxy = d.cfg.Proxy
	}
	switch {
	case d.cfg.NoRehearsal:
		c.Rehearsal = nil
	case c.Rehearsal == nil:
		c.Rehearsal = &acme.Rehearsal{Dial: o.dialPublic, Port: o.port}
	}
	notify := c.Notify
	c.Notify = func(e acme.Event) {
		o.note(e)
		if notify != nil {
			notify(e)
		}
	}
	keeper, err := acme.New(c)
	if err != nil {
		return nil, err
	}
	o.keeper = keeper
	o.plain.init()
	o.http01 = &http.Server{
		Handler:           o.keeper.HTTPChallenge(nil),
		ReadHeaderTimeout: visitorHandshakeTimeout,
		WriteTimeout:      visitorHandshakeTimeout,
		IdleTimeout:       visitorHandshakeTimeout,
		ConnState:         o.plain.state,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	d.wg.Go(func() { o.http01.Serve(&o.plain) })
	return keeper, nil
}

// close ends what open began.
func (o *orders) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.keeper == nil {
		return
	}
	o.plain.Close()
	o.http01.Close()
	o.keeper.Close()
}

// errNear is the error of an address that is not dialled.
var errNear = errors.New("it is an address of this device or of a network near it, where it has no relay")

// dialPublic is acme.Rehearsal.Dial: it goes the way that a link would. DNS and the port
// are often the word of a relay, and an order that goes on or not shows it what there
// is. So it may look around near the device only where a relay is there itself.
func (o *orders) dialPublic(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
	if !o.d.MayDial(address.Addr()) {
		return nil, errNear
	}
	proxy, err := o.d.cfg.proxy(address.String())
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		return (&proxydial.Proxy{URL: proxy}).Dial(ctx, address.String())
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address.String())
}

// MayDial reports whether an address that DNS gives for a name may be looked at: it is one
// of the internet, or a relay of the device is as near as that itself. Nothing else may
// make the device look around in its own network.
func (d *Device) MayDial(address netip.Addr) bool {
	var relays []net.Addr
	for _, l := range d.allLinks() {
		relays = append(relays, l.RemoteAddr())
	}
	return !isNear(address) || slices.ContainsFunc(relays, isRelayNear)
}

func isRelayNear(relay net.Addr) bool {
	a, err := netip.ParseAddrPort(relay.String())
	return err != nil || isNear(a.Addr())
}

// isNear reports whether an address is this device's own, or one of networks that the
// internet has no way to. Of an address of IPv6 that a network translates to IPv4, the
// one inside counts.
func isNear(a netip.Addr) bool {
	a = a.Unmap()
	b := a.As16()
	switch {
	case translated.Contains(a):
		a = netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		a = netip.AddrFrom4([4]byte(b[2:6]))
	}
	return !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a) || translatedHere.Contains(a)
}

// Networks of isNear: those of providers and of overlays (RFC 6598), of translation to
// IPv4 (RFC 6052, section 2.1), of the same within a network (RFC 8215), and of 6to4 (RFC
// 3056).
var (
	shared         = netip.MustParsePrefix("100.64.0.0/10")
	translated     = netip.MustParsePrefix("64:ff9b::/96")
	translatedHere = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour      = netip.MustParsePrefix("2002::/16")
)

// ready is acme.Config.Ready. The CA may come to any relay of the name.
func (o *orders) ready(ctx context.Context, name string) error {
	if l := o.d.listener(name); l != nil {
		if err := l.links.wait(ctx); err != nil {
			return err
		}
		return l.waitEverywhere(ctx)
	}
	<-ctx.Done() // the name is about to be forgotten, or to have its listener
	return context.Cause(ctx)
}

// port is acme.Rehearsal.Port. Where the relays of a name say different ports, none of them
// moves the rehearsal: a CA looks at that of HTTPS.
func (o *orders) port(name string) int {
	if l := o.d.listener(name); l != nil {
		if port, same := l.publicPort(); same {
			return port
		}
	}
	return httpsPort
}

// turn is acme.Config.Turn.
func (o *orders) turn(ctx context.Context, name string) error {
	if l := o.d.listener(name); l != nil {
		return l.turn.await(ctx)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// hold is acme.Config.Hold.
func (o *orders) hold(name string) (until time.Time) {
	if l := o.d.listener(name); l != nil {
		return l.links.held()
	}
	return until
}

// note follows the orders.
func (o *orders) note(e acme.Event) {
	if l := o.d.listener(e.Name); l != nil {
		l.noteOrder(e)
	}
	switch e.Kind {
	case acme.Loaded, acme.Obtained:
		o.d.tell(Event{Kind: Certificate, Name: e.Name, NotAfter: e.NotAfter})
	case acme.Failed:
		o.d.tell(Event{Kind: CertificateFailed, Name: e.Name, NotAfter: e.NotAfter, Err: e.Err})
	}
}

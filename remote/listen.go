package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"keystay/acme"
	"keystay/framing"
)

// Config says which name to serve, through which relay, with what certificate.
// Only StateDir is required, and Domain or Relay at the first start.
type Config struct {
	// Domain is the public name, in lower case, without a trailing dot. Empty
	// means the name made from the device's key below the first of Relays.
	// Without Relays too, it means the name that was last served from StateDir
	// with the same Service, or the only one that was served from there.
	Domain string

	// Port asks the relay for a public TCP port instead of a name, see [Name].
	Port uint16

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

	// NoSiblings tells no relay of the others that serve the name, see
	// [DeviceConfig.NoSiblings].
	NoSiblings bool

	// MaxVisitors is how many visitors' connections there may be at once. Further
	// ones are refused. 0 means DefaultMaxVisitors, or as many as half of the
	// process's memory is enough for, at 256 KiB each. One network gets a share of
	// them, but with Raw.
	MaxVisitors int

	// LaneAfter is how many bytes in one direction make a visitor's connection
	// bulk; 0 means DefaultLaneAfter.
	LaneAfter int64

	// Proxy chooses a proxy for the relay, and for the CA where ACME has none
	// of its own; nil means the convention of the environment (HTTPS_PROXY,
	// ALL_PROXY and NO_PROXY). The request has nothing but the relay's URL. The kinds are
	// those of net/http.Transport.
	Proxy func(*http.Request) (*url.URL, error)

	// Token is what the relay's operator gave out, or empty. It is sent to a
	// relay that is named in Relays, that was named there when it gave Domain
	// before, or that is Domain's registrable domain. No other relay gets it.
	Token string

	// StateDir holds the identity, the ACME account and the certificates. It
	// is made with mode 0700.
	StateDir string

	// NoRehearsal turns [acme.Rehearsal] off, also one in ACME. Where it is false, the
	// device looks for itself at each address of the name before an order, and orders
	// nothing where one of them fails.
	NoRehearsal bool

	// ACME says how the certificate is obtained. Dir, Ready, Hold and, if nil,
	// Logger and Rehearsal are set by Listen.
	ACME acme.Config

	// TLS is used instead of ACME where a certificate is brought along.
	TLS *tls.Config

	// Raw leaves the visitors' TLS to the caller: Accept returns each connection
	// as a *framing.Stream, still encrypted, beginning with the ClientHello. No
	// certificate is ordered, and ACME and TLS are not used. A CA that validates
	// by TLS-ALPN-01 comes as one more visitor; HTTP-01 is refused.
	Raw bool

	// Rules say which visitors the name is for, by their addresses. Each relay
	// refuses the others before they reach this device, and so does this device
	// itself where a relay does not, or is too old to. The address of a visitor is
	// the relay's word. A CA's validation passes whatever the rules are. With Raw
	// this device looks at no rules: RemoteAddr is what the caller can check.
	framing.Rules

	// Version is told to the relay, for people.
	Version string

	// Logger hears what happens, and nothing of visitors; nil discards.
	Logger *slog.Logger
}

// Listen begins to serve one name: it is the short form of [Open] and Device.Listen,
// with a device of its own that ends with the listener. It returns at once, before the relay has been
// reached: Wait tells when the name answers. What goes wrong and may pass is
// tried again for ever; what will not pass is returned by Accept and Wait, such
// as a *framing.Denial. The error of Listen is an *InUseError when another
// process on this device serves the name.
func Listen(cfg Config) (*Listener, error) {
	dc, name := cfg.device(), cfg.name()
	if err := dc.check(); err != nil {
		return nil, err
	}
	if err := name.Rules.Check(); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// A mistake of usage writes nothing.
	if _, _, err := (&state{dir: cfg.StateDir}).choose(name); err != nil {
		return nil, err
	}
	d, err := Open(dc)
	if err != nil {
		return nil, err
	}
	name.only = true
	list, err := d.Listen(name)
	if err != nil {
		d.cutAll()
		_ = d.Close()
		d.wg.Wait()
		return nil, err
	}
	return list[0], nil
}

// ErrNoRelay is wrapped by the error of a configuration that leads to no relay.
var ErrNoRelay = errors.New("no relay given")

// errNoneAbove is the ErrNoRelay of a name from which nothing is left to climb to.
var errNoneAbove = fmt.Errorf("no name above it can be a relay, and %w", ErrNoRelay)

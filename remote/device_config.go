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

// DeviceConfig says what concerns a device as a whole, whatever its names. Only
// StateDir is required.
type DeviceConfig struct {
	// StateDir holds the identity, the ACME account and the certificates. It
	// is made with mode 0700.
	StateDir string

	// Version is told to the relays, for people.
	Version string

	// Relays are those of each Name that gives none of its own, and RelayAddresses
	// what to dial for them, as in Name.
	Relays, RelayAddresses []string

	// RelayRoots are trusted for the relays' certificates; nil means the system's.
	RelayRoots *x509.CertPool

	// Transport is how the relays are reached; empty means TransportAuto.
	Transport Transport

	// Links is how many links are kept to each relay, to different addresses of
	// it where there are several, however many names it gives; 0 means DefaultLinks.
	Links int

	// NoLanes keeps the bytes of all visitors on the links. Otherwise a
	// visitor's connection that turns out to be bulk moves to one of its own,
	// a lane, if the relay has them and is reached directly over TLS.
	NoLanes bool

	// NoSiblings tells no relay of the others that serve a name. Otherwise each is told
	// which these are, at most [framing.MaxSiblings], so that relays that have agreed on it
	// pass visitors on to each other while one of them has lost the device.
	NoSiblings bool

	// LaneAfter is how many bytes in one direction make a visitor's connection
	// bulk; 0 means DefaultLaneAfter.
	LaneAfter int64

	// MaxVisitors is how many visitors' connections there may be at once, of all
	// names. Further ones are refused. 0 means DefaultMaxVisitors, or as many as half
	// of the process's memory is enough for, at 256 KiB each. One network gets a
	// share of them, but with Raw.
	MaxVisitors int

	// Proxy chooses a proxy for the relays, and for the CA where ACME has none
	// of its own; nil means the convention of the environment (HTTPS_PROXY,
	// ALL_PROXY and NO_PROXY). The request has nothing but the relay's URL. The kinds
	// are those of net/http.Transport.
	Proxy func(*http.Request) (*url.URL, error)

	// Token is what a relay's operator gave out, or empty. It is sent with the claim
	// of a name to a relay that was named for it, now or when it gave the name
	// before, or that is the name's registrable domain. No other relay gets it.
	Token string

	// NoRehearsal turns [acme.Rehearsal] off, also one in ACME. Where it is false, the
	// device looks for itself at each address of a name before an order, and orders
	// nothing where one of them fails.
	NoRehearsal bool

	// ACME says how certificates are obtained. Dir, Ready, Hold and, if nil,
	// Logger and Rehearsal are set by the device.
	ACME acme.Config

	// Replica lets other runs of the same identity serve the names too, if they
	// are replicas as well.
	Replica bool

	// Logger hears what happens, and nothing of visitors; nil discards.
	Logger *slog.Logger

	// Figures, if it is not nil, counts what the device does.
	Figures *Figures

	// Events is told what happens to the names, one event after the other, in their
	// order, on a goroutine of the device. It may take its time: nothing waits for it
	// but Shutdown, and up to 4,096 events wait meanwhile; those beyond are lost. It
	// must not call Shutdown. Nil means that nobody is told.
	Events func(Event)
}

// check returns an error for a mistake in the configuration.
func (cfg *DeviceConfig) check() error {
	if cfg.StateDir == "" {
		return errors.New("listen: no state directory given")
	}
	switch cfg.Transport {
	case "", TransportAuto, TransportTLS, TransportWSS:
		return nil
	}
	return fmt.Errorf("listen: no transport is called %q", cfg.Transport)
}

// A Name is what concerns one public name of a device.
type Name struct {
	// Domain is the public name, in lower case, without a trailing dot. Empty
	// means the name made from the device's key below the first relay. Without
	// relays too, it means the name that was last served from the state directory
	// with the same Service, or the only one that was served from there.
	Domain string

	// Word is what a name made from the device's key is made of, too: each word
	// makes another name. Empty means the key alone. It needs a relay of minor
	// version 3, and counts only where Domain is empty.
	Word string

	// Port asks the relay for a public TCP port, and not for a name: for protocols that
	// have no server name, such as SSH. It is the number that one would like to have;
	// which it is, Listener.URL tells once the relay has given it. 0 is a name. Accept
	// returns each connection as a *framing.Stream, from its first byte: nothing of it
	// is encrypted but by the two ends, and the relay can read what they do not. Rules
	// count here, too. Domain, Word, TLS, Raw and Handshake are not used, and there is
	// one relay.
	Port uint16

	// Relays are the names of the relays to serve the name through, all at once,
	// each with a port if it is not 443. Empty means the device's, or else those
	// that gave Domain before. At the first start it then means the first relay
	// among the names above Domain, beginning with the registrable domain.
	Relays []string

	// RelayAddresses are what to dial, host:port, instead of the relays' own
	// addresses; the relay's name is still what is verified. With one relay all
	// are its addresses, else there are as many as relays, in their order.
	RelayAddresses []string

	// Service says what stands behind the name, such as its local address. It
	// is only remembered, for a later start without Domain and relays.
	Service string

	// TLS is used instead of ACME where a certificate is brought along.
	TLS *tls.Config

	// Raw leaves the visitors' TLS to the caller: Accept returns each connection
	// as a *framing.Stream, still encrypted, beginning with the ClientHello. No
	// certificate is ordered, and TLS and Handshake are not used. A CA that validates
	// by TLS-ALPN-01 comes as one more visitor; HTTP-01 is refused.
	Raw bool

	// Rules say which visitors the name is for, by their addresses. Each relay
	// refuses the others before they reach this device, and so does this device
	// itself where a relay does not, or is too old to. The address of a visitor is
	// the relay's word. A CA's validation passes whatever the rules are. With Raw
	// this device looks at no rules: RemoteAddr is what the caller can check.
	framing.Rules

	// Handshake says how the visitors' TLS is agreed on.
	Handshake Handshake

	only bool // the device is this name's own, and ends with it
}

// device is what cfg says of the device, and name what it says of the name.
func (cfg *Config) device() DeviceConfig {
	return DeviceConfig{
		StateDir: cfg.StateDir, Version: cfg.Version, RelayRoots: cfg.RelayRoots, Transport: cfg.Transport, Links: cfg.Links,
		NoLanes: cfg.NoLanes, NoSiblings: cfg.NoSiblings, LaneAfter: cfg.LaneAfter, MaxVisitors: cfg.MaxVisitors, Proxy: cfg.Proxy, Token: cfg.Token,
		NoRehearsal: cfg.NoRehearsal, ACME: cfg.ACME, Replica: cfg.Replica, Logger: cfg.Logger,
	}
}

func (cfg *Config) name() Name {
	return Name{Domain: cfg.Domain, Port: cfg.Port, Relays: cfg.Relays, RelayAddresses: cfg.RelayAddresses, Service: cfg.Service,
		TLS: cfg.TLS, Raw: cfg.Raw, Rules: cfg.Rules}
}

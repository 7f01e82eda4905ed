package config

import (
	"net/netip"
	"time"
)

// Remote is the configuration of a remote. Its values have been checked and
// normalised by [LoadRemote].
type Remote struct {
	// Domain is the public name: a host name of two labels or more, in lower
	// case, without a trailing dot, as A-labels. Empty is a name made from the
	// device's key below the first of Relays, or without these the last one
	// that was served.
	Domain string `mapstructure:"domain"`

	// Services are what is published, one at least, each under names of its own.
	Services []Service `mapstructure:"-"`

	// Local is the service that the public name leads to.
	Local Local `mapstructure:"-"`

	// HostHeader is the Host that the service sees: "keep" (the default) is the
	// visitor's, "target" that of Local; else it is a host, with or without a
	// port.
	HostHeader string `mapstructure:"host-header"`

	// TrustPrivateAddresses tells the service also addresses of visitors that
	// cannot come from the internet.
	TrustPrivateAddresses bool `mapstructure:"-"`

	// Relays are the relays to dial, each host or host:port, normalised like
	// Domain; all serve the name at once. Empty is those that gave Domain
	// before, or else to look for one above Domain, from the top down.
	Relays []string `mapstructure:"relay"`

	// RelayAddresses are the host:port to dial instead of the relays' names,
	// which are still what is verified. With one relay all are its addresses,
	// else there are as many as relays, in their order. Empty is the relays'
	// names and ports.
	RelayAddresses []string `mapstructure:"relay-address"`

	// Replica lets other runs of the same identity serve the name beside this
	// one, if they are replicas too.
	Replica bool `mapstructure:"-"`

	// RelayRoot is a PEM file of roots to trust for the relay's own
	// certificate. Empty is the system's.
	RelayRoot string `mapstructure:"relay-root"`

	// Token is what the relay's operator gave out, at most [MaxSecret] bytes,
	// read from TokenFile where that is set. Empty is none.
	Token Secret `mapstructure:"token"`

	// TokenFile is the file that Token was read from, or empty.
	TokenFile string `mapstructure:"token-file"`

	// Allow and Deny are the ranges of addresses that visitors may come from, and
	// may not. Without any, all may; an address that both have is decided by the
	// longer prefix, and by Deny where they are equal.
	Allow, Deny []netip.Prefix `mapstructure:"-"`

	// StateDir is the folder of the identity key, the ACME account, the
	// certificates and the remembered relay. The default is that of
	// [DefaultStateDir].
	StateDir string `mapstructure:"state-dir"`

	// ACMECAs are the https URLs of CAs' directories (RFC 8555, section 7.1.1),
	// in the order to ask them. Empty is Let's Encrypt.
	ACMECAs []string `mapstructure:"acme-ca"`

	// ACMERoot is a PEM file of roots to trust for the API of every CA. Empty is
	// the system's.
	ACMERoot string `mapstructure:"acme-root"`

	// ACMEEmail is the account's contact, or empty for none.
	ACMEEmail string `mapstructure:"acme-email"`

	// ACMEEABKID is the key identifier for external account binding (RFC 8555,
	// section 7.3.4). It and ACMEEABHMAC are both set or none.
	ACMEEABKID string `mapstructure:"acme-eab-kid"`

	// ACMEEABHMAC is the key for external account binding, as base64url
	// without padding.
	ACMEEABHMAC Secret `mapstructure:"acme-eab-hmac"`

	// KeyType is the kind of key that certificates are ordered for: "ecdsa" (the
	// default), or "rsa" for visitors that know no other.
	KeyType string `mapstructure:"key-type"`

	// Cert is a PEM file with the certificate and its chain, instead of ACME.
	// It and Key are both set or none.
	Cert string `mapstructure:"cert"`

	// Key is a PEM file with the private key of Cert.
	Key string `mapstructure:"key"`

	// Lanes is "auto" (the default), where bulk moves to connections of its
	// own if the relay has them too, or "off".
	Lanes string `mapstructure:"lanes"`

	// Transport is "auto" (the default), "tls" or "wss".
	Transport string `mapstructure:"transport"`

	// Proxy is the URL of the proxy to dial out through, with the scheme http,
	// https, socks5 or socks5h. It may hold a password. [NoProxy] is none,
	// whatever the environment says; empty is the environment's (HTTPS_PROXY,
	// ALL_PROXY and NO_PROXY).
	Proxy Secret `mapstructure:"proxy"`

	// DNS is the address of the DNS server to ask, ip:port. Empty is the
	// system's.
	DNS string `mapstructure:"dns"`

	// Wait is how long to try until the name answers; 0 is for ever.
	Wait time.Duration `mapstructure:"-"`

	// DrainTimeout is how long visitors may finish when the remote is told to
	// stop: 0 to [MaxDrain], 30 s by default.
	DrainTimeout time.Duration `mapstructure:"-"`

	// LogLevel is "debug", "info" (the default), "warn" or "error".
	LogLevel string `mapstructure:"log-level"`

	// LogFormat is "text" (the default) or "json".
	LogFormat string `mapstructure:"log-format"`

	// LogAsked says that a level or a format of the log was given, be it the
	// default.
	LogAsked bool `mapstructure:"-"`
}

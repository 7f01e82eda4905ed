package config

import (
	"slices"
	"time"
)

// Remote is the configuration of a remote. Its values have been checked and
// normalised by [LoadRemote].
type Remote struct {
	// Domain is the name that a command is about which publishes nothing, in the form
	// of [Service].Domains.
	Domain string

	// Services are what is published, one at least, each under names of its own.
	Services []Service

	// TrustPrivateAddresses tells the service also addresses of visitors that
	// cannot come from the internet.
	TrustPrivateAddresses bool

	// Relays are the relays to dial, each host or host:port, normalised like
	// [Service].Domains; all serve the names at once. Empty is those that gave a name
	// before, or else to look for one above it, from the top down.
	Relays []string

	// RelayAuto says that the relay is taken out of RelayList; Relays is empty then.
	RelayAuto bool

	// RelayList is where a published list of relays is: an https URL, an http URL of this
	// machine, or a file. Empty is none.
	RelayList string

	// RelayListKeys are the public keys of which one must have signed the list, in the
	// form of package relaylist. Empty is the one that was kept.
	RelayListKeys []string

	// RelayAddresses are the host:port to dial instead of the relays' names,
	// which are still what is verified. With one relay all are its addresses,
	// else there are as many as relays, in their order. Empty is the relays'
	// names and ports.
	RelayAddresses []string

	// Listen are the host:port of this device's own at which visitors may come without a
	// relay. Empty is none.
	Listen []string

	// Replica lets other runs of the same identity serve the names beside this
	// one, if they are replicas too.
	Replica bool

	// RelayRoot is a PEM file of roots to trust for the relay's own
	// certificate. Empty is the system's.
	RelayRoot string

	// Token is what the relay's operator gave out, at most [MaxSecret] bytes,
	// read from TokenFile where that is set. Empty is none.
	Token Secret

	// TokenFile is the file that Token was read from, or empty.
	TokenFile string

	// StateDir is the folder of the identity key, the ACME account, the
	// certificates and the remembered relay. The default is that of
	// [DefaultStateDir].
	StateDir string

	// ACMECAs are the https URLs of CAs' directories (RFC 8555, section 7.1.1),
	// in the order to ask them. Empty is Let's Encrypt.
	ACMECAs []string

	// ACMERoot is a PEM file of roots to trust for the API of every CA. Empty is
	// the system's.
	ACMERoot string

	// ACMEEmail is the account's contact, or empty for none.
	ACMEEmail string

	// ACMEEABKID is the key identifier for external account binding (RFC 8555,
	// section 7.3.4). It and ACMEEABHMAC are both set or none.
	ACMEEABKID string

	// ACMEEABHMAC is the key for external account binding, as base64url
	// without padding.
	ACMEEABHMAC Secret

	// ACMERehearsal is "auto" (the default), where the remote looks for itself at
	// each address of a name before it orders, or "off".
	ACMERehearsal string

	// CT is "auto" (the default), where certificate transparency is watched for
	// certificates of a CA that publishes them, "off", or the URL of the monitor to
	// ask, in the form of Cert Spotter's API v1: https, or http on this machine.
	CT string

	// KeyType is the kind of key that certificates are ordered for: "ecdsa" (the
	// default), or "rsa" for visitors that know no other.
	KeyType string

	// Lanes is "auto" (the default), where bulk moves to connections of its
	// own if the relay has them too, or "off".
	Lanes string

	// Siblings is "auto" (the default), where each relay of a name is told of its others,
	// so that it may pass visitors on to them, or "off".
	Siblings string

	// Transport is "auto" (the default), "tls" or "wss".
	Transport string

	// Proxy is the URL of the proxy to dial out through, with the scheme http,
	// https, socks5 or socks5h. It may hold a password. [NoProxy] is none,
	// whatever the environment says; empty is the environment's (HTTPS_PROXY,
	// ALL_PROXY and NO_PROXY).
	Proxy Secret

	// DNS is the address of the DNS server to ask, ip:port. Empty is the
	// system's.
	DNS string

	// Probe is "auto" (the default), where the remote looks at its names from outside, or
	// "off".
	Probe string

	// ProbeProxies are the URLs of proxies through which it looks too, in the form of
	// Proxy. They may hold passwords.
	ProbeProxies []Secret

	// ProbeWith are other remotes of the same owner, who are asked to look from their
	// networks, and whose questions are answered.
	ProbeWith []ProbePeer

	// ProbeDNS is the address of another DNS server, ip:port, that is asked for the
	// addresses to look at. Empty is none.
	ProbeDNS string

	// OnIntercept is "warn" (the default) or "stop": what is done when a name is seen to
	// be intercepted.
	OnIntercept string

	// InterceptRun is a command with its arguments, which is told then. Empty is none.
	InterceptRun []string

	// InterceptPost is an http or https URL that is told then. It may hold a secret. Empty
	// is none.
	InterceptPost Secret

	// Inspect is where the inspector's page is served, the host:port of a loopback
	// address, whose port may be 0. Empty is nowhere: nothing is kept of any request.
	Inspect string

	// Wait is how long to try until every name answers; 0 is for ever.
	Wait time.Duration

	// DrainTimeout is how long visitors may finish when the remote is told to
	// stop: 0 to [MaxDrain], 30 s by default.
	DrainTimeout time.Duration

	// Metrics is where figures for Prometheus are served, host:port, whose port may be 0.
	// Empty is nowhere.
	Metrics string
	// Plain says that a terminal gets lines in the place of the live screen.
	Plain bool

	// LogLevel is "debug", "info" (the default), "warn" or "error".
	LogLevel string

	// LogFormat is "text" (the default) or "json".
	LogFormat string

	// LogAsked says that a level or a format of the log was given, be it the
	// default.
	LogAsked bool
}

// Files returns the files that are read besides the configuration, ready to open: the
// token's, those of certificates and of gates.
func (r *Remote) Files() (files []string) {
	add := func(names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
	}
	add(r.TokenFile)
	for _, s := range r.Services {
		add(s.Cert, s.Key)
		for _, g := range s.Gates {
			add(g.PasswordFile, g.ClientCA)
			if g.OIDC != nil {
				add(g.OIDC.ClientSecretFile)
			}
		}
	}
	return files
}

// A ProbePeer is another remote of the same owner.
type ProbePeer struct {
	// Label is what its identity is called by; empty is this device's own identity.
	Label string
	// Name is a public name of it, in the form of [Service].Domains, and Port the port of
	// that.
	Name string
	Port int
}

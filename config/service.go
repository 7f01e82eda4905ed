package config

import (
	"net/http"
	"net/netip"
	"time"
)

// A Service is what one or more public names lead to.
type Service struct {
	// Domains are public names: each a host name of two labels or more, in lower
	// case, without a trailing dot, as A-labels.
	//
	// With one Word, "", no Domains and no Relays, it is the name that was served last.
	Domains []string

	// Words make one more name each, below the relay, from the device's key and the
	// word; "" is the name made from the key alone. There is one at least of Domains
	// and Words.
	Words []string

	// Port is the public TCP port that the relay is asked for, in place of a name, of a
	// Service whose Raw is a LocalTCP; else 0. There are no Domains and no Words then, and
	// one relay at most.
	Port uint16

	// Relays and RelayAddresses are the service's own, as those of [Remote]. Empty is
	// those of Remote.
	Relays, RelayAddresses []string

	// Routes are where requests go, by their paths; the longest counts. No path is
	// there twice. Empty where Raw is set.
	Routes []Route

	// Raw is where connections go whose bytes are passed on as they are, a [LocalTCP]
	// or [LocalTLS]; nil where there are Routes.
	Raw *Local

	// ALPN are services for visitors who offer certain protocols inside TLS; the
	// others, and those who offer none, go to Routes or Raw.
	ALPN []Protocols

	// ProxyProtocol is the version of the PROXY protocol header that Raw and ALPN's
	// services get, 1 or 2, or 0 for none.
	ProxyProtocol int

	// Gates are who may come in, in the file's order; the one with the longest path
	// of a request decides. Empty is everybody.
	Gates []Gate

	// Allow and Deny are the ranges of addresses that visitors may come from, and
	// may not. Without any, all may; an address that both have is decided by the
	// longer prefix, and by Deny where they are equal.
	Allow, Deny []netip.Prefix

	// Cert and Key are PEM files with a certificate and its private key to use instead
	// of ACME, ready to open. Both are set or none.
	Cert, Key string
}

// A Route is where requests with a path go.
type Route struct {
	// Path begins with a slash. One that ends with a slash is for all below it and for
	// itself without the slash, another for that path alone.
	Path string

	// Local is the service, of any kind but LocalTCP and LocalTLS.
	Local Local

	// Strip takes Path off the request's path.
	Strip bool

	// Listing and SPA are of a folder. With Listing a folder without an index.html is
	// answered with a list of its files. With SPA a path that does not exist is
	// answered with the index.html at the top.
	Listing, SPA bool

	// HostHeader is the Host that an HTTP service sees: "keep" (the default) is the
	// visitor's, "target" that of Local; else it is a host, with or without a port.
	HostHeader string

	// Request and Response change the headers on the way.
	Request, Response HeaderChanges

	// ConnectTimeout is how long a connection to the service may take, and
	// AnswerTimeout how long its answer may take to begin; 0 is the default.
	ConnectTimeout, AnswerTimeout time.Duration

	// Health is how the service is looked after; the zero value is not at all.
	Health Health
}

// HeaderChanges are what is changed of a head: first Remove, then Set.
type HeaderChanges struct {
	Set    http.Header // canonical names; one value each
	Remove []string    // canonical names
}

// Health is how often a path of a service is asked for, to know whether it is up.
type Health struct {
	Path  string        // begins with a slash; empty is off
	Every time.Duration // 1 s to 1 h
}

// Protocols are what visitors may offer by ALPN (RFC 7301), and where they go then.
type Protocols struct {
	Names []string // each 1 to 255 bytes, none of them twice in a service
	Local Local    // a LocalTCP
}

// A Gate is who may come in. Of Passwords, PasswordFile, Links, ClientCA and OIDC, each
// that is set lets in by itself.
type Gate struct {
	// Paths are what it is for, as [Route].Path; empty is all of the service.
	Paths []string

	// Passwords are lines of USER:HASH with a hash of bcrypt.
	Passwords []Secret

	// PasswordFile is a file with such lines, as htpasswd -B makes them, ready to open.
	PasswordFile string

	// Links lets in those who have a link of "remote share".
	Links bool

	// Addresses are the ranges of addresses from which visitors may come at all; empty
	// is all. TrustedAddresses are those from which they need not sign in.
	Addresses, TrustedAddresses []netip.Prefix

	// ClientCA is a PEM file of the CAs whose client certificates are let in, ready to
	// open, or empty.
	ClientCA string

	// OIDC is a provider to sign in with, or nil.
	OIDC *OIDC

	// Header hands the user's name on to the service.
	Header bool
}

// OIDC is a provider of OpenID Connect, and who of its users may come in.
type OIDC struct {
	Issuer       string // an https URL
	ClientID     string
	ClientSecret Secret // read from the file; empty is a public client
	// ClientSecretFile is where ClientSecret was read from, or empty.
	ClientSecretFile string
	// Groups and Emails are who may come in: members of one of the groups, or one of the
	// addresses, where "@example.com" is all of that domain and "*" all users. One of
	// them has something.
	Groups, Emails []string
	Scopes         []string // beside openid, email and profile
}

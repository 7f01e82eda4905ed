package config

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"keystay/internal/hostname"
)

// The keys of those commands of the remote that publish nothing.
var (
	releaseKeys = []string{"relay", "relay_address", "relay_root", "state_dir", "transport", "proxy", "dns"}
	loginKeys   = []string{"token_file", "state_dir"}
	dnsKeys     = []string{"relay", "state_dir", "dns", "listen"}
	shareKeys   = []string{"state_dir"}
	verifyKeys  = []string{"proxy", "dns"}
)

// ReleaseFlags adds the flags of "remote release": how its relay is reached.
func ReleaseFlags(fs *pflag.FlagSet) { register(fs, someKeys(releaseKeys)) }

// LoginFlags adds the flags of "remote login".
func LoginFlags(fs *pflag.FlagSet) { register(fs, someKeys(loginKeys)) }

// DNSFlags adds the flags of "remote dns".
func DNSFlags(fs *pflag.FlagSet) { register(fs, someKeys(dnsKeys)) }

// ShareFlags adds the flags of "remote share".
func ShareFlags(fs *pflag.FlagSet) { register(fs, someKeys(shareKeys)) }

// VerifyFlags adds the flags of "remote verify" that a remote has, too.
func VerifyFlags(fs *pflag.FlagSet) { register(fs, someKeys(verifyKeys)) }

func someKeys(names []string) []Key {
	return slices.DeleteFunc(RemoteKeys(), func(k Key) bool { return !slices.Contains(names, k.Name) })
}

// LoadRelease reads what [LoadRemote] reads of the flags of [ReleaseFlags], their
// variables and the defaults. Domain is name. A configuration that is wrong gives
// [Errors].
func LoadRelease(fs *pflag.FlagSet, name string) (*Remote, error) {
	r, err := loadSome(fs, releaseKeys)
	if err != nil {
		return nil, err
	}
	for i := range r.remote.Relays {
		r.errs.relay("relay", &r.remote.Relays[i])
	}
	r.remote.Domain = name
	if host, port, ok := publicPort(name); ok {
		r.remote.Domain = net.JoinHostPort(host, port)
	} else {
		r.errs.publicName("domain", &r.remote.Domain, r.remote.Relays)
	}
	for _, a := range r.remote.RelayAddresses {
		r.errs.address("relay_address", a, false)
	}
	r.errs.oneOf("transport", r.remote.Transport, "auto", "tls", "wss")
	r.errs.proxy("proxy", &r.remote.Proxy)
	r.errs.dns("dns", &r.remote.DNS)
	r.errs.readable("relay_root", r.remote.RelayRoot)
	var errs Errors
	if r.remote.Proxy == "" {
		errs = proxyVariables()
	}
	return r.remote, finish(r.src, append(errs, repeated(fs, r.src.keys)...), r.errs, "domain")
}

// LoadLogin reads what LoadRemote reads of the flags of [LoginFlags]. Relays is
// relay alone, and Token that of TokenFile, or empty without one.
func LoadLogin(fs *pflag.FlagSet, relay string) (*Remote, []Warning, error) {
	r, err := loadSome(fs, loginKeys)
	if err != nil {
		return nil, nil, err
	}
	r.errs.relay("relay", &relay)
	r.remote.Relays = []string{relay}
	warnings := r.errs.secretFile("token_file", r.remote.TokenFile, &r.remote.Token)
	return r.remote, warnings, finish(r.src, repeated(fs, r.src.keys), r.errs, "relay")
}

// LoadDNS reads what LoadRemote reads of the flags of [DNSFlags]. Domain is name, and
// Relays has one at least.
func LoadDNS(fs *pflag.FlagSet, name string) (*Remote, error) {
	r, err := loadSome(fs, dnsKeys)
	if err != nil {
		return nil, err
	}
	if len(r.remote.Relays) == 0 {
		r.errs.add("relay", "missing", "the relay that is to serve the domain, as in --relay relay.net")
	}
	for i := range r.remote.Relays {
		r.errs.relay("relay", &r.remote.Relays[i])
	}
	r.remote.Domain = name
	r.errs.publicName("domain", &r.remote.Domain, r.remote.Relays)
	r.homes()
	for _, relay := range r.remote.Relays {
		host, _, _ := strings.Cut(relay, ":")
		if len(r.remote.Listen) > 0 { // of which only its own network's DNS may tell
			break
		}
		if r.remote.Domain == host || hostname.IsBelow(r.remote.Domain, host) {
			r.errs.add("domain", quote(r.remote.Domain)+" is no domain of your own: it is the relay's", "a name below "+host+" needs no record of yours")
		}
	}
	r.errs.dns("dns", &r.remote.DNS)
	return r.remote, finish(r.src, repeated(fs, r.src.keys), r.errs, "domain")
}

// LoadShare reads what LoadRemote reads of the flags of [ShareFlags].
func LoadShare(fs *pflag.FlagSet) (*Remote, error) {
	r, err := loadSome(fs, shareKeys)
	if err != nil {
		return nil, err
	}
	return r.remote, finish(r.src, repeated(fs, r.src.keys), r.errs, "")
}

// LoadVerify reads what LoadRemote reads of the flags of [VerifyFlags]. Address is a
// host name, with a port or without one, or an https URL without a path. Domain of the
// result is its host name in normal form, and port its port, or empty.
func LoadVerify(fs *pflag.FlagSet, address string) (r *Remote, port string, err error) {
	src, err := newSource(someKeys(verifyKeys), fs, nil)
	if err != nil {
		return nil, "", err
	}
	r = src.remote()
	var wrong Errors
	host := strings.TrimSuffix(strings.TrimPrefix(address, "https://"), "/")
	r.Domain, port, _ = strings.Cut(host, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	isPort := host == r.Domain || err == nil && n > 0
	switch r.Domain, err = hostName(r.Domain); {
	case err != nil || strings.ContainsAny(port, "/?#"): // another scheme than https, or a path
		why, form := noPublicName(address)
		wrong.add("domain", quote(address)+" is no public name"+why, form)
	case !isPort:
		wrong.add("domain", quote(port)+" is no port", "a number from 1 to 65535")
	}
	wrong.proxy("proxy", &r.Proxy)
	wrong.dns("dns", &r.DNS)
	var errs Errors
	if r.Proxy == "" {
		errs = proxyVariables()
	}
	return r, port, finish(src, append(errs, repeated(fs, src.keys)...), wrong, "domain")
}

// noPublicName says what it is of an address that makes it no name to verify, as far as
// that shows, and how it has to look.
func noPublicName(address string) (why, form string) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "https", address
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	_, err := hostName(bare)
	switch {
	case net.ParseIP(strings.Trim(bare, "[]")) != nil:
		return ": it is an IP address", "as in https://xyz.relay.net"
	case err != nil:
		return "", "as in https://xyz.relay.net"
	case scheme != "https":
		return ": it is to begin with https:// or to be the name alone", "did you mean https://" + bare
	}
	return ": more follows than the name and a port", "did you mean https://" + host
}

// loadSome reads some of the remote's keys.
func loadSome(fs *pflag.FlagSet, names []string) (*remoteReader, error) {
	src, err := newSource(someKeys(names), fs, nil)
	if err != nil {
		return nil, err
	}
	r := &remoteReader{remote: src.remote(), src: src}
	r.errs.stateDir(&r.remote.StateDir)
	return r, nil
}

// finish returns the mistakes as LoadRemote does. The key argument is what the
// command's argument was checked as.
func finish(src *source, errs, wrong Errors, argument string) error {
	placed := src.locate(wrong)
	for _, e := range placed {
		if e.Key == argument {
			e.From = "the argument"
		}
	}
	return append(errs, placed...).sorted("")
}

// CheckSecret returns an error for what cannot be a secret that a person passes on:
// nothing, more than [MaxSecret] bytes, or more than one line.
func CheckSecret(s string) error {
	if s == "" {
		return errEmptySecret
	}
	return checkSecret(s)
}

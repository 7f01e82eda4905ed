package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A remoteReader reads what is set of a remote but for its services, checks it and
// gathers what is wrong.
type remoteReader struct {
	errs   Errors
	remote *Remote // what was said, and then what that means
	src    *source
}

// check checks the values of the remote and normalises them. It looks at nothing else.
func (r *remoteReader) check() {
	remote, errs := r.remote, &r.errs
	r.auto()
	r.relayList()
	for i := range remote.Relays {
		errs.relay("relay", &remote.Relays[i])
	}
	errs.relayAddresses("relay_address", remote.RelayAddresses, remote.Relays)
	r.homes()
	if remote.Token != "" && remote.TokenFile != "" {
		errs.add("token", "there is a token file too", "give one of --token and --token-file (and of their variables)")
	}
	if err := checkSecret(string(remote.Token)); err != nil {
		errs.add("token", err.Error())
	}
	for i, ca := range remote.ACMECAs {
		errs.httpsURL("acme.ca", ca)
		if slices.Contains(remote.ACMECAs[:i], ca) {
			errs.add("acme.ca", "the same one twice: "+quote(ca), "the next is asked when one cannot or will not give a certificate")
		}
	}
	errs.email("acme.email", remote.ACMEEmail)
	errs.binding("acme.eab.kid", &remote.ACMEEABKID, "acme.eab.hmac", &remote.ACMEEABHMAC)
	errs.oneOf("acme.rehearsal", remote.ACMERehearsal, "auto", "off")
	errs.monitor("ct", remote.CT)
	errs.oneOf("key_type", remote.KeyType, "ecdsa", "rsa")
	errs.oneOf("transport", remote.Transport, "auto", "tls", "wss")
	errs.oneOf("lanes", remote.Lanes, "auto", "off")
	errs.oneOf("siblings", remote.Siblings, "auto", "off")
	errs.proxy("proxy", &remote.Proxy)
	errs.dns("dns", &remote.DNS)
	r.probe()
	errs.inspect("inspect", &remote.Inspect)
	errs.metrics("metrics", &remote.Metrics)
	errs.oneOf("log.level", remote.LogLevel, "debug", "info", "warn", "error")
	errs.oneOf("log.format", remote.LogFormat, "text", "json")
}

// monitor checks where certificate transparency is looked at.
func (e *Errors) monitor(key, s string) {
	if s == "auto" || s == "off" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		e.add(key, quote(s)+" is not auto, off or an https:// URL", "as in https://api.certspotter.com/v1/issuances")
		return
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		e.add(key, quote(s)+" is asked in the clear, and so could be answered by anybody", "https:// in place of http://, but on this machine")
	}
}

// relayAddresses checks what is dialled instead of the relays' names.
func (e *Errors) relayAddresses(key string, addresses, relays []string) {
	for _, a := range addresses {
		e.address(key, a, false)
	}
	if n := len(addresses); n > 0 && len(relays) > 1 && n != len(relays) {
		e.add(key, fmt.Sprintf("there are %d of them, and %d relays", n, len(relays)), "give one for each --relay, in their order")
	}
}

// homes checks the addresses of the device's own.
func (r *remoteReader) homes() {
	addresses := r.remote.Listen
	for i, a := range addresses {
		r.errs.address("listen", a, true)
		if slices.Contains(addresses[:i], a) && !strings.HasSuffix(a, ":0") {
			r.errs.add("listen", quote(a)+" is there twice", "each needs a port of its own")
		}
	}
}

// acmeSettings returns the flags of those settings about ACME that are given.
func acmeSettings(r Remote) (flags []string) {
	for _, s := range []struct {
		flag  string
		given bool
	}{
		{"--acme-ca", len(r.ACMECAs) > 0},
		{"--acme-root", r.ACMERoot != ""},
		{"--acme-email", r.ACMEEmail != ""},
		{"--acme-eab-kid", r.ACMEEABKID != ""},
		{"--acme-eab-hmac", r.ACMEEABHMAC != ""},
		{"--acme-rehearsal off", r.ACMERehearsal == "off"},
		{"--key-type rsa", r.KeyType == "rsa"},
	} {
		if s.given {
			flags = append(flags, s.flag)
		}
	}
	return flags
}

// publicName checks and normalises the public name of a remote.
func (e *Errors) publicName(key string, name *string, relays []string) {
	typed := *name
	if strings.Contains(typed, "://") || isHostName(typed) {
		e.domain(key, name)
		return
	}
	_, err := hostName(typed)
	e.add(key, err.Error(), publicNameHint(typed, relays))
}

// publicNameHint returns what to do about what was typed as the public name, and
// is no host name.
func publicNameHint(typed string, relays []string) string {
	zone := "relay.net"
	if len(relays) > 0 {
		zone = relays[0]
		if host, _, err := net.SplitHostPort(zone); err == nil {
			zone = host
		}
	}
	if host, _, err := net.SplitHostPort(typed); err == nil && isHostName(host) {
		return "only the name: " + host + "; the port of a relay goes with --relay"
	}
	if first, _, several := strings.Cut(typed, ","); several && isHostName(first) {
		return "give each with a --domain of its own"
	}
	if rest, wild := strings.CutPrefix(typed, "*."); wild && isHostName(rest) {
		return "one whole name, as in xyz." + rest
	}
	if host, _, path := strings.Cut(typed, "/"); path && isHostName(host) {
		return "only the name: " + host
	}
	near := plainSigns.Replace(strings.TrimSpace(typed))
	if !strings.Contains(near, ".") {
		near += "." + zone
	}
	switch {
	case !isHostName(near):
		return "a name below a relay's, as in xyz." + zone
	case !strings.Contains(typed, ".") && len(relays) == 0:
		return "the whole name, as in " + near
	}
	return fmt.Sprintf("did you mean %q?", near)
}

// plainSigns takes out of a name what was meant as its quotes, and makes what stands for
// hyphens in it such.
var plainSigns = strings.NewReplacer("_", "-", "\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2014", "-",
	"\u201c", "", "\u201d", "", "\u201e", "", "\u2018", "", "\u2019", "", "\u201a", "", "\u00ab", "", "\u00bb", "")

// dns checks the address of a DNS server and gives it a port where it has none.
// It must be an address, since nothing could look its name up.
func (e *Errors) dns(key string, s *string) {
	if *s != "" {
		e.dnsServer(key, s)
	}
}

// dnsServer checks the address of a DNS server and gives it a port where it has none.
func (e *Errors) dnsServer(key string, s *string) {
	const bad, form = " is no address of a DNS server", "as in 9.9.9.9 or [2620:fe::fe]:53"
	i := strings.LastIndexByte(*s, ':')
	portless := i <= 0 || !isIPv6((*s)[:i]) || !isPort((*s)[i+1:])
	ip, err := netip.ParseAddr(strings.Trim(*s, "[]"))
	switch {
	case !portless && err != nil:
		e.add(key, quote(*s)+bad, fmt.Sprintf("did you mean %q?", net.JoinHostPort((*s)[:i], (*s)[i+1:])))
		return
	case !portless && strings.HasSuffix(*s, ":53"): // few servers have an address that ends so
		e.add(key, quote(*s)+" is an address alone, or one and its port", fmt.Sprintf("did you mean %q, or %q?", net.JoinHostPort((*s)[:i], "53"), net.JoinHostPort(*s, "53")))
		return
	case err == nil:
		*s = netip.AddrPortFrom(ip, 53).String()
	}
	if at, err := netip.ParseAddrPort(*s); err != nil || at.Port() == 0 {
		e.add(key, quote(*s)+bad, form)
	}
}

// relay checks and normalises host or host:port, where the host is a name,
// since that is what its certificate is checked for.
func (e *Errors) relay(key string, s *string) {
	if _, rest, ok := strings.Cut(*s, "://"); ok {
		rest, _, _ = strings.Cut(rest, "/")
		e.add(key, quote(*s)+" is not host or host:port", "without the scheme: "+rest)
		return
	}
	host, port := *s, ""
	if h, p, err := net.SplitHostPort(*s); err == nil {
		e.address(key, net.JoinHostPort("localhost", p), false)
		host, port = h, p
	}
	name, err := hostName(host)
	if err != nil {
		hint := "as in relay.net or relay.net:8443"
		if host == autoRelay {
			hint = "auto is for all names of a remote, as in remote --relay auto --relay-list URL; here the relay has to be named"
		} else if _, addrErr := netip.ParseAddr(host); addrErr == nil {
			hint = "--relay NAME --relay-address " + net.JoinHostPort(host, cmp.Or(port, "443"))
		}
		e.add(key, err.Error(), hint)
		return
	}
	*s = name
	if port != "" {
		*s = net.JoinHostPort(name, port)
	}
}

// hostHeader checks what the service is to see as its Host.
func (e *Errors) hostHeader(key, s string) {
	if s == "keep" || s == "target" {
		return
	}
	u, err := url.Parse("http://" + s)
	if err != nil || u.Host != s || u.Hostname() == "" || strings.HasSuffix(s, ":") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		e.add(key, quote(s)+" is no host", "keep, target, or a name with or without a port, such as localhost:3000")
	}
}

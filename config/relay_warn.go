package config

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/publicsuffix"
)

// unwise returns what is allowed of a relay's configuration and seldom meant.
func unwise(r Relay) (warnings []Warning) {
	add := func(key, message string, hints ...string) {
		warnings = append(warnings, Warning{Key: key, Message: message, Hints: hints})
	}
	if suffix, _ := publicsuffix.PublicSuffix(r.Domain); r.Domain != "" && suffix == r.Domain {
		add("domain", fmt.Sprintf("%s is a public suffix, below which names belong to many owners: no remote looks for a relay there by itself", quote(r.Domain)),
			"if it is not yours as a whole, set the name below it that is, as in "+quote("relay."+r.Domain),
			"else tell those who use it to name it: --relay "+r.Domain)
	}
	warnings = append(warnings, unwiseAdmin(r.Admin)...)
	if r.ACME.CA == "" && r.TLS == (TLS{}) && !validated(r.Listen, "443") && !validated(r.HTTPListen, "80") {
		add("listen", "Let's Encrypt comes to port 443 or 80 to check the domain, and nothing here listens on one of them for the outside",
			"if something forwards one of these ports to this relay, all is well",
			`else set listen: [":443"], or http_listen: [":80"], or bring a certificate: tls.cert_file and tls.key_file`)
	}
	if r.Log.Level == "debug" {
		add("log.level", "log.level is debug: errors of connections can contain visitors' addresses", "log: {level: info} has none of a visitor")
	}
	return warnings
}

// reachedBy says which strangers can reach an address that is listened on, or
// returns "" for an address of this machine or of a private network, and for a
// name, of which nothing is known.
func reachedBy(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	ip, err := netip.ParseAddr(host)
	ip = ip.Unmap()
	switch {
	case host == "" || err == nil && ip.IsUnspecified():
		return "everybody who reaches an address of this machine"
	case err != nil, ip.IsLoopback(), ip.IsPrivate(), ip.IsLinkLocalUnicast(), shared.Contains(ip):
		return ""
	}
	return "the internet"
}

// shared is the address space of RFC 6598, which overlay networks use as well.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// validated reports whether one of the addresses has the port, and not on this
// machine's own loopback alone. A name may stand for any address.
func validated(addresses []string, port string) bool {
	for _, a := range addresses {
		host, p, err := net.SplitHostPort(a)
		ip, notIP := netip.ParseAddr(host)
		if err == nil && p == port && host != "localhost" && (notIP != nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

// longDrain is more than visitors need who only finish.
const longDrain = 30 * time.Minute

// longStop returns a warning for a relay that may take long to stop.
func longStop(d time.Duration) []Warning {
	if d <= longDrain {
		return nil
	}
	return []Warning{{Key: "drain_timeout", Message: fmt.Sprintf("a stop may take %v, as long as one visitor stays", d),
		Hints: []string{"takeover_drain is for restarts, and does not hold them up", "whatever starts the relay must wait as long: containers and orchestrators have a time of their own"}}}
}

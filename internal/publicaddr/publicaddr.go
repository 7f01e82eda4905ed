// Package publicaddr tells which addresses a visitor from the internet can have.
// Only the relay's word stands for a visitor's address. So an address that services
// trust, such as the device's own or one of its network, is not believed.
package publicaddr

import "net/netip"

// Is reports whether a visitor from the internet can have the address, and
// no service takes it for one that is near. An IPv6 address with an IPv4 address
// inside is none of these: a service may look at that one.
func Is(ip netip.Addr) bool {
	if !ip.Is4() && !globalUnicast6.Contains(ip) {
		return false
	}
	for _, special := range specialNets {
		if special.Contains(ip) {
			return false
		}
	}
	if ip.Is4() {
		return true
	}
	b := ip.As16()
	isatap := b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe // RFC 5214, section 6.1
	return !isatap
}

// globalUnicast6 is what IANA gives out of IPv6. Outside are also the addresses
// with an IPv4 address inside of RFC 4291 (::/96, ::ffff:0:0/96), RFC 2765
// (::ffff:0:0:0/96), RFC 6052 and RFC 8215 (64:ff9b::/16).
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// specialNets are those of IANA's registries of special-purpose addresses that are
// not reachable from everywhere (RFC 6890), and the anycast nets among them from
// which no visitor comes. Multicast is here, too.
var specialNets = prefixes(
	"0.0.0.0/8",       // this network (RFC 791)
	"10.0.0.0/8",      // private (RFC 1918)
	"100.64.0.0/10",   // shared, and used by overlay networks (RFC 6598)
	"127.0.0.0/8",     // loopback (RFC 1122)
	"169.254.0.0/16",  // link-local (RFC 3927)
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments (RFC 6890)
	"192.0.2.0/24",    // documentation (RFC 5737)
	"192.88.99.0/24",  // relays of 6to4 (RFC 7526)
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks (RFC 2544)
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast (RFC 5771)
	"240.0.0.0/4",     // reserved (RFC 1112), and broadcast
	"2001::/23",       // protocol assignments (RFC 2928): Teredo, with IPv4 inside, ORCHID and others
	"2001:db8::/32",   // documentation (RFC 3849)
	"2002::/16",       // 6to4, with IPv4 inside (RFC 3056)
	"3fff::/20",       // documentation (RFC 9637)
)

func prefixes(nets ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range nets {
		list = append(list, netip.MustParsePrefix(n))
	}
	return list
}

// OneOf returns what counts as one visitor's address: the address, or 64 bits of IPv6, of
// which one machine may have all. It is the zero Prefix for what is none.
func OneOf(a netip.Addr) netip.Prefix { return Network(a, 32, 64) }

// Network returns the network of so many bits that an address is of: bits4 of an IPv4
// address, also of one inside an IPv6 address, and bits6 of another. It is the zero Prefix
// for what is none.
func Network(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	p, _ := a.Prefix(bits) // an error is the zero Prefix
	return p
}

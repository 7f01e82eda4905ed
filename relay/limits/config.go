package limits

import (
	"net/netip"
	"time"
)

// A Config is all that can be set. Its zero value is the defaults. In each field 0
// is the default and a negative number is no limit.
type Config struct {
	// Exempt are the addresses that the limits of Address do not count for: those
	// of a proxy in front, behind which all visitors look alike. Nil is
	// [Loopback]; an empty list is none.
	Exempt []netip.Prefix

	// Address is what each address may have, see [Addresses].
	Address Address

	// Identity is what each identity may have with all of its names together, and
	// Name what each name may.
	Identity, Name Owner
}

// Address is what one address of IPv4 may have, or one network of 64 bits of IPv6,
// which is the least that one customer gets. A network of 48 bits of IPv6 may have
// [SiteFactor] times as much.
type Address struct {
	// Connections are those at once, of visitors and browsers; a link or a lane
	// is none any more once it is let in. The default is 2048.
	Connections int

	// ConnectionRate is how many new ones may come, links and lanes among them; as
	// many as Connections may come at once, and ten seconds' worth. The default is 100
	// a second.
	ConnectionRate Rate

	// Hellos are the connections at once whose first bytes are not complete. The
	// default is 1024. Beyond it the oldest of that address goes.
	Hellos int

	// Links are those at once. The default is 2048.
	Links int

	// LinkRate is how many handshakes of links may come. As many as Links may come at
	// once. The default is 20 a second.
	LinkRate Rate

	// Identities are those that are seen for the first time. The default is 500
	// a day.
	Identities Rate

	// Names are those that are granted for the first time. The default is 200 a day.
	Names Rate

	// Domains are the names that others are asked about: DNS about custom domains, an
	// outside decision about new names. The default is 60 a minute.
	Domains Rate
}

// Owner is what one identity or one name may have. A token may have one for its names,
// see [Owners.Override].
type Owner struct {
	// Streams are the visitors at once. The defaults are 16384 for an identity and
	// 8192 for a name.
	Streams int

	// ConnsPerSecond is how many new visitors may come a second; ten seconds'
	// worth may come at once. The defaults are 4000 and 2000.
	ConnsPerSecond int

	// Bandwidth is how many bytes a second may go each way; a second's worth may go
	// at once. By default there is no limit.
	Bandwidth int64

	// BytesPerMonth is how many bytes may go in a month of the calendar in UTC,
	// both ways together. By default there is no limit.
	BytesPerMonth int64

	// Names are those that one identity may hold; of the Owner of a name it says
	// nothing. The default is 32. It is not used here: package names counts names, and
	// has it in its Rules.
	Names int
}

// SiteFactor is how many times as much as one of its networks of 64 bits a
// network of 48 bits of IPv6 may have. It is what a provider gives one site.
const SiteFactor = 4

// A Rate is a number in a time, such as 50 a second.
type Rate struct {
	Count int
	Per   time.Duration // a second where it is 0
}

// Loopback returns the addresses that are exempt by default: those of this machine.
// What comes from there is no address of anybody outside.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// The defaults.
var (
	defaultAddress = Address{
		Connections: 2048, ConnectionRate: Rate{100, time.Second}, Hellos: 1024,
		Links: 2048, LinkRate: Rate{20, time.Second},
		Identities: Rate{500, 24 * time.Hour}, Names: Rate{200, 24 * time.Hour},
		Domains: Rate{60, time.Minute},
	}
	defaultIdentity = Owner{Streams: 16384, ConnsPerSecond: 4000, Bandwidth: -1, BytesPerMonth: -1, Names: 32}
	defaultName     = Owner{Streams: 8192, ConnsPerSecond: 2000, Bandwidth: -1, BytesPerMonth: -1, Names: -1}
)

// WithDefaults returns c with the default in the place of each 0.
func (c Config) WithDefaults() Config {
	if c.Exempt == nil {
		c.Exempt = Loopback()
	}
	c.Address = Address{
		Connections:    or(c.Address.Connections, defaultAddress.Connections),
		ConnectionRate: c.Address.ConnectionRate.or(defaultAddress.ConnectionRate),
		Hellos:         or(c.Address.Hellos, defaultAddress.Hellos),
		Links:          or(c.Address.Links, defaultAddress.Links),
		LinkRate:       c.Address.LinkRate.or(defaultAddress.LinkRate),
		Identities:     c.Address.Identities.or(defaultAddress.Identities),
		Names:          c.Address.Names.or(defaultAddress.Names),
		Domains:        c.Address.Domains.or(defaultAddress.Domains),
	}
	c.Identity, c.Name = c.Identity.or(defaultIdentity), c.Name.or(defaultName)
	return c
}

// or returns o with what d has in the place of each 0.
func (o Owner) or(d Owner) Owner {
	return Owner{or(o.Streams, d.Streams), or(o.ConnsPerSecond, d.ConnsPerSecond), or(o.Bandwidth, d.Bandwidth),
		or(o.BytesPerMonth, d.BytesPerMonth), or(o.Names, d.Names)}
}

func (r Rate) or(d Rate) Rate {
	if r.Count == 0 {
		r = d
	}
	r.Per = or(r.Per, time.Second)
	return r
}

func or[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// over reports whether one more than n is more than limit; a limit below 0 is none.
func over(n, limit int) bool { return limit >= 0 && n >= limit }

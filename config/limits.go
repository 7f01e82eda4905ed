package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"keystay/internal/amount"
)

// Limits are what one address, one identity and one name may take of a relay. A
// number below 0 is no limit.
type Limits struct {
	// Exempt are the addresses that the limits of Address do not count for: by
	// default those of this machine.
	Exempt []netip.Prefix

	// Address is what each address may have, or each /64 of IPv6; a /48 may have four
	// times as much.
	Address AddressLimits

	// Identity is what each identity may have with all of its names, and Name what
	// each name may.
	Identity, Name OwnerLimits
}

// AddressLimits are those of one address.
type AddressLimits struct {
	Connections    int  // at once, of visitors
	ConnectionRate Rate // of new ones
	Hellos         int  // at once, of which not all has come
	Links          int  // at once
	LinkRate       Rate // of their handshakes
	Identities     Rate // that get their first name
	Names          Rate // that are granted for the first time
	Domains        Rate // custom domains that DNS is asked for
}

// OwnerLimits are those of one identity or one name.
type OwnerLimits struct {
	Names          int   // that an identity may hold; 0 for a name
	Ports          int   // TCP ports, likewise
	Streams        int   // visitors at once
	ConnectionRate Rate  // of new visitors, by the second
	Bandwidth      int64 // bytes a second, each way
	BytesPerMonth  int64 // both ways
}

// A Rate is a number in a time.
type Rate struct {
	Count int
	Per   time.Duration
}

const (
	// MinBandwidth is the least bandwidth that can be set, in bytes a second.
	MinBandwidth = 16 << 10
	// MinBytes is the least that a month can be limited to, in bytes.
	MinBytes = 1 << 20
)

// What an identity and a name may have by default where everybody may take names.
const (
	openIdentityBandwidth = "64MiB/s"
	openIdentityBytes     = "1TiB"
	openNameBandwidth     = "32MiB/s"
)

// limitKeys are the keys below limits.
func limitKeys() []Key {
	const off = "; off is no limit"
	open := func(amount string) string { return "; empty is " + amount + " where names.policy is open, else off" }
	return []Key{
		{Name: "limits.exempt", Kind: List, Default: "127.0.0.0/8,::1/128", Help: "addresses and ranges that the limits by address do not count for, such as that of a proxy in front of the relay"},
		{Name: "limits.address.connections", Kind: Number, Default: "2048", Help: "connections of visitors at once for each address (IPv6: /64; a /48 may have four times as many, here and below)" + off},
		{Name: "limits.address.connection_rate", Default: "100/s", Help: "new connections for each address, links among them, as in 100/s; as many as limits.address.connections, or as come in ten seconds, may come at once" + off},
		{Name: "limits.address.hellos", Kind: Number, Default: "1024", Help: "connections at once for each address whose first bytes are not complete; beyond it the oldest goes" + off},
		{Name: "limits.address.links", Kind: Number, Default: "2048", Help: "links of remotes at once for each address; a remote keeps two" + off},
		{Name: "limits.address.link_rate", Default: "20/s", Help: "handshakes of links for each address; as many as limits.address.links may come at once" + off},
		{Name: "limits.address.identities", Default: "500/day", Help: "identities that get their first name, for each address" + off},
		{Name: "limits.address.names", Default: "200/day", Help: "new names for each address" + off},
		{Name: "limits.address.domains", Default: "60/min", Help: "names that others are asked about, for each address: custom domains, and new names where there is a webhook" + off},
		{Name: "limits.identity.names", Kind: Number, Default: "32", Help: "names that each identity may hold, beside the one made from its key"},
		{Name: "limits.identity.ports", Kind: Number, Default: "4", Help: "TCP ports (tcp_ports) that each identity may hold, beside its names"},
		{Name: "limits.identity.streams", Kind: Number, Default: "16384", Help: "visitors at once of all names of an identity" + off},
		{Name: "limits.identity.connection_rate", Default: "4000/s", Help: "new visitors of all names of an identity, by the second; ten seconds' worth may come at once" + off},
		{Name: "limits.identity.bandwidth", Help: "bytes a second, each way, of all names of an identity, as in 10MiB/s" + open(openIdentityBandwidth)},
		{Name: "limits.identity.bytes_per_month", Help: "bytes in a month, both ways, of all names of an identity, as in 500GiB" + open(openIdentityBytes)},
		{Name: "limits.name.streams", Kind: Number, Default: "8192", Help: "visitors at once of a name" + off},
		{Name: "limits.name.connection_rate", Default: "2000/s", Help: "new visitors of a name, by the second; ten seconds' worth may come at once" + off},
		{Name: "limits.name.bandwidth", Help: "bytes a second, each way, of a name, as in 10MiB/s" + open(openNameBandwidth)},
		{Name: "limits.name.bytes_per_month", Default: "off", Help: "bytes in a month, both ways, of a name, as in 500GiB" + off},
	}
}

// limits reads what is below limits.
func (r *relayReader) limits() (l Limits) {
	byDefault := func(text string) string {
		if r.relay.Names.Policy != "open" {
			return "off"
		}
		return text
	}
	for i, text := range r.src.viper.GetStringSlice(strings.ReplaceAll("limits.exempt", ".", delimiter)) {
		if p, ok := r.errs.addressRange("limits.exempt", i, text); ok {
			l.Exempt = append(l.Exempt, p)
		}
	}
	if l.Exempt == nil {
		l.Exempt = []netip.Prefix{}
	}
	a := &l.Address
	r.limit("limits.address.connections", &a.Connections)
	r.limitRate("limits.address.connection_rate", &a.ConnectionRate, false)
	r.limit("limits.address.hellos", &a.Hellos)
	r.limit("limits.address.links", &a.Links)
	r.limitRate("limits.address.link_rate", &a.LinkRate, false)
	r.limitRate("limits.address.identities", &a.Identities, false)
	r.limitRate("limits.address.names", &a.Names, false)
	r.limitRate("limits.address.domains", &a.Domains, false)
	r.limit("limits.identity.names", &l.Identity.Names)
	if l.Identity.Names == amount.Off {
		r.errs.add("limits.identity.names", "an identity cannot have names without end", "a number, as in 32")
	}
	r.limit("limits.identity.ports", &l.Identity.Ports)
	if l.Identity.Ports == amount.Off {
		r.errs.add("limits.identity.ports", "an identity cannot have ports without end", "a number, as in 4")
	}
	r.limit("limits.identity.streams", &l.Identity.Streams)
	r.limitRate("limits.identity.connection_rate", &l.Identity.ConnectionRate, true)
	r.limit("limits.name.streams", &l.Name.Streams)
	r.limitRate("limits.name.connection_rate", &l.Name.ConnectionRate, true)
	r.limitBytes("limits.identity.bandwidth", &l.Identity.Bandwidth, byDefault(openIdentityBandwidth))
	r.limitBytes("limits.identity.bytes_per_month", &l.Identity.BytesPerMonth, byDefault(openIdentityBytes))
	r.limitBytes("limits.name.bandwidth", &l.Name.Bandwidth, byDefault(openNameBandwidth))
	r.limitBytes("limits.name.bytes_per_month", &l.Name.BytesPerMonth, "off")
	return l
}

// addressRange reads an address or a range of addresses.
func (e *Errors) addressRange(key string, i int, text string) (netip.Prefix, bool) {
	key = fmt.Sprintf("%s[%d]", key, i)
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap()
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		e.add(key, quote(text)+" is no address and no range", "as in 192.0.2.1 or 10.0.0.0/8")
	case p != p.Masked():
		e.add(key, quote(text)+" has bits behind its length", fmt.Sprintf("did you mean %s, or %s?", quote(p.Masked().String()), quote(p.Addr().String())))
	case p.Addr().Is4In6():
		e.add(key, quote(text)+" is a range of IPv4 written as one of IPv6", "as in 10.0.0.0/8")
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// said returns what was said of a key, and text that without the space around it.
func (s *source) said(key string) string {
	return s.viper.GetString(strings.ReplaceAll(key, ".", delimiter))
}

func (s *source) text(key string) string { return strings.TrimSpace(s.said(key)) }

// limit reads a number.
func (r *relayReader) limit(key string, n *int) {
	var err error
	if *n, err = amount.Count(r.src.text(key)); err != nil {
		r.errs.add(key, quote(r.src.text(key))+" "+err.Error(), "a number, as in 1000, or off")
	}
}

// limitRate reads a number in a time.
func (r *relayReader) limitRate(key string, to *Rate, bySecond bool) {
	var err error
	to.Count, to.Per, err = amount.Rate(r.src.text(key))
	switch {
	case err != nil:
		r.errs.add(key, quote(r.src.text(key))+" "+err.Error(), "as in 50/s, 20/min or 200/day, or off")
	case bySecond && to.Per != time.Second:
		r.errs.add(key, quote(r.src.text(key))+" is not by the second", "as in 50/s, or off")
	}
}

// limitBytes reads bytes, in a second or in a month; otherwise is what an empty text
// means.
func (r *relayReader) limitBytes(key string, n *int64, otherwise string) {
	text := r.src.text(key)
	if text == "" {
		text = otherwise
	}
	var err error
	example := "as in 500GiB, or off"
	if strings.HasSuffix(key, "bandwidth") {
		*n, err = amount.Bandwidth(text, MinBandwidth)
		example = "as in 10MiB/s, or off"
	} else {
		*n, err = amount.Bytes(text, MinBytes)
	}
	if err != nil {
		r.errs.add(key, quote(text)+" "+err.Error(), example)
	}
}

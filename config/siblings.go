package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// MaxSiblings is how many siblings a relay may have.
const MaxSiblings = 16

// Sibling is a relay of another owner that visitors of a lost device may be passed on to,
// and that may pass its own on.
type Sibling struct {
	// Name is the sibling's own name, normalised like Domain.
	Name string `mapstructure:"name"`

	// Dial is the host:port of its public port; by default its name and 443.
	Dial string `mapstructure:"dial"`

	// From are the addresses and ranges that it dials from, as they were written.
	From []string `mapstructure:"from"`

	// Addresses is From, parsed.
	Addresses []netip.Prefix `mapstructure:"-"`
}

// siblingKeys are the keys of a relay's siblings.
func siblingKeys() []Key {
	return []Key{
		{Name: "siblings", Kind: Table, Help: "relays of other owners: a visitor of a device that is away here is passed on to one that the device has named, and theirs are taken; both operators name each other"},
		{Name: "siblings[].name", Help: "the sibling's own name"},
		{Name: "siblings[].dial", Help: "HOST:PORT of its public port; by default its name and 443"},
		{Name: "siblings[].from", Kind: List, Help: "addresses and ranges that it dials from, whose word for a visitor's address is believed; nobody else may come from there"},
	}
}

// siblings checks and normalises the siblings.
func (r *relayReader) siblings() {
	if n := len(r.relay.Siblings); n > MaxSiblings {
		r.errs.add("siblings", fmt.Sprintf("%d siblings", n), fmt.Sprintf("at most %d", MaxSiblings))
	}
	named := make(map[string]int)
	for i := range r.relay.Siblings {
		s, key := &r.relay.Siblings[i], fmt.Sprintf("siblings[%d]", i)
		normal, err := hostName(strings.TrimSpace(s.Name))
		switch other, twice := named[normal]; {
		case s.Name == "":
			r.errs.add(key+".name", "missing", "the domain of the relay there, as in relay.example.org")
		case err != nil:
			r.errs.add(key+".name", err.Error(), "as in relay.example.org")
		case normal == r.relay.Domain:
			r.errs.add(key+".name", quote(s.Name)+" is this relay itself", "the name of another one")
		case twice:
			r.errs.add(key+".name", fmt.Sprintf("%s is the name of siblings[%d] too", quote(s.Name), other), "take one of the two out")
		}
		named[normal] = i
		s.Name = normal
		if s.Dial = strings.TrimSpace(s.Dial); s.Dial != "" {
			r.errs.address(key+".dial", s.Dial, false)
		} else {
			s.Dial = net.JoinHostPort(s.Name, "443")
		}
		r.siblingFrom(key+".from", i)
	}
}

// siblingFrom reads the addresses of one sibling, which are its own alone.
func (r *relayReader) siblingFrom(key string, i int) {
	s := &r.relay.Siblings[i]
	if len(s.From) == 0 {
		r.errs.add(key, "missing", "the addresses that it dials from, as in [192.0.2.10]; its operator knows them")
	}
	for n, text := range s.From {
		p, ok := r.errs.addressRange(key, n, text)
		at := fmt.Sprintf("%s[%d]", key, n)
		switch {
		case !ok:
			continue
		case p.Bits() == 0:
			r.errs.add(at, quote(text)+" is everybody, who could say to be anybody", "the addresses of the sibling alone, as in 192.0.2.10")
			continue
		}
		for _, proxy := range r.relay.ProxyProtocol.From {
			if p.Overlaps(proxy) {
				r.errs.add(at, fmt.Sprintf("%s is in proxy_protocol.from too, as %s", quote(text), proxy), "an address is that of a proxy of your own, or of a sibling")
			}
		}
		for o, other := range r.relay.Siblings[:i] {
			for _, q := range other.Addresses {
				if p.Overlaps(q) {
					r.errs.add(at, fmt.Sprintf("%s is in siblings[%d].from too, as %s", quote(text), o, q), "each sibling has addresses of its own")
				}
			}
		}
		s.Addresses = append(s.Addresses, p)
	}
}

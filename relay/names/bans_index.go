package names

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"keystay/internal/keyname"
)

// A banIndex has the bans in force, for look-ups by everybody at any time. It is not
// changed once it is made.
type banIndex struct {
	names, identities map[string]timedBan
	ranges            map[netip.Prefix]timedBan
	bits4, bits6      []int // the lengths of the ranges of IPv4 and of IPv6 that there are
}

// A timedBan is a ban with its end on this process's clock.
type timedBan struct {
	Ban
	ends time.Time // with a reading of the monotonic clock; zero is never
}

func (b timedBan) over() bool { return !b.ends.IsZero() && time.Now().After(b.ends) }

// loadBans reads the bans. While they cannot be read, those from before hold. Where
// others ban, too, OnBans hears of new ones.
func (n *Names) loadBans() {
	n.loading.Lock()
	defer n.loading.Unlock()
	all := &banIndex{names: map[string]timedBan{}, identities: map[string]timedBan{}, ranges: map[netip.Prefix]timedBan{}}
	err := n.eachBan(func(b Ban, now time.Time) {
		f := timedBan{Ban: b}
		if !b.Until.IsZero() {
			f.ends = time.Now().Add(b.Until.Sub(now))
		}
		all.add(f)
	})
	if err != nil {
		return
	}
	before := n.bans.Swap(all)
	if list := all.newBans(before); len(list) > 0 && n.OnBans != nil && n.Shared() {
		n.OnBans(list)
	}
}

func (all *banIndex) add(f timedBan) {
	switch f.Kind {
	case BanName:
		all.names[f.Of] = f
	case BanIdentity:
		all.identities[f.Of] = f
	case BanAddress:
		p, err := netip.ParsePrefix(f.Of)
		if err != nil {
			return
		}
		all.ranges[p] = f
		bits := &all.bits4
		if p.Addr().Is6() {
			bits = &all.bits6
		}
		if !slices.Contains(*bits, p.Bits()) {
			*bits = append(*bits, p.Bits())
		}
	}
}

// CountBans returns how many bans of a kind are in force, as they were read last.
func (n *Names) CountBans(kind BanKind) (count int) {
	all := n.bans.Load()
	if all == nil {
		return 0
	}
	inForce := func(b timedBan) {
		if !b.over() {
			count++
		}
	}
	switch kind {
	case BanName:
		for _, b := range all.names {
			inForce(b)
		}
	case BanIdentity:
		for _, b := range all.identities {
			inForce(b)
		}
	case BanAddress:
		for _, b := range all.ranges {
			inForce(b)
		}
	}
	return count
}

// Banned returns the ban that hits an identity, a name or an address; what is not
// given hits none.
func (n *Names) Banned(name string, key []byte, from netip.Addr) (Ban, bool) {
	if b, ok := n.bannedIdentity(key); ok {
		return b, true
	}
	if b, ok := n.bannedName(name); ok {
		return b, true
	}
	return n.BannedAddress(from)
}

// bannedIdentity returns the ban of a device's key.
func (n *Names) bannedIdentity(key []byte) (Ban, bool) {
	if all := n.bans.Load(); all == nil || len(all.identities) == 0 || len(key) == 0 {
		return Ban{}, false
	}
	return n.bannedLabel(keyname.Label(key, ""))
}

// bannedLabel returns the ban of the key that a label is made from.
func (n *Names) bannedLabel(label string) (Ban, bool) {
	all := n.bans.Load()
	if all == nil {
		return Ban{}, false
	}
	b, ok := all.identities[label]
	return b.Ban, ok && !b.over()
}

// bannedName returns the ban of a name, or of one above it.
func (n *Names) bannedName(name string) (Ban, bool) {
	all := n.bans.Load()
	if all == nil || len(all.names) == 0 {
		return Ban{}, false
	}
	for at := name; at != ""; _, at, _ = strings.Cut(at, ".") {
		if b, ok := all.names[at]; ok && !b.over() {
			return b.Ban, true
		}
	}
	return Ban{}, false
}

// BannedAddress returns the ban of the smallest range that an address is in. It is
// asked for each connection, and costs a look-up for each length of range.
func (n *Names) BannedAddress(a netip.Addr) (Ban, bool) {
	all := n.bans.Load()
	if all == nil || len(all.ranges) == 0 || !a.IsValid() {
		return Ban{}, false
	}
	a = a.Unmap().WithZone("")
	bits := all.bits4
	if a.Is6() {
		bits = all.bits6
	}
	best, found := timedBan{}, -1
	for _, n := range bits {
		p, err := a.Prefix(n)
		if err != nil || n <= found {
			continue
		}
		if b, ok := all.ranges[p]; ok && !b.over() {
			best, found = b, n
		}
	}
	return best.Ban, found >= 0
}

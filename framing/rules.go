package framing

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// MaxRules is how many ranges the rules of one claim may hold.
const MaxRules = 64

// Rules say which visitors a name is for, by their addresses. Without rules it is
// for all. IPv4 addresses and ranges that are mapped into IPv6 count as IPv4, and
// zones do not count.
type Rules struct {
	Allow, Deny []netip.Prefix // together at most MaxRules
}

// Admit reports whether a visitor with this address may come. An address that a
// range of Deny has may not, and where there are ranges in Allow, one that none of
// them has. Where both have it, the longest prefix counts, and of equal ones that
// of Deny. Where there are rules, an invalid address may not come.
func (r Rules) Admit(visitor netip.Addr) bool {
	if len(r.Allow)+len(r.Deny) == 0 {
		return true
	}
	visitor = visitor.Unmap().WithZone("")
	if !visitor.IsValid() {
		return false
	}
	allowed, denied := longest(r.Allow, visitor), longest(r.Deny, visitor)
	if allowed < 0 && denied < 0 {
		return len(r.Allow) == 0
	}
	return allowed > denied
}

// longest is how many bits the longest of the prefixes has that have a, or -1.
func longest(list []netip.Prefix, a netip.Addr) int {
	bits := -1
	for _, p := range list {
		if p = plainPrefix(p); p.Contains(a) {
			bits = max(bits, p.Bits())
		}
	}
	return bits
}

// plainPrefix is p without what does not count. An invalid prefix stays one.
func plainPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Check returns an error for rules that no claim can carry: more than MaxRules, or
// an invalid range.
func (r Rules) Check() error {
	if n := len(r.Allow) + len(r.Deny); n > MaxRules {
		return fmt.Errorf("%d ranges of addresses, at most %d", n, MaxRules)
	}
	for _, list := range [][]netip.Prefix{r.Allow, r.Deny} {
		for _, p := range list {
			if !p.IsValid() {
				return errors.New("an invalid range of addresses")
			}
		}
	}
	return nil
}

// The actions and families of CLAIM's rules.
const (
	ruleAllow   = 0
	ruleDeny    = 1
	ruleFamily4 = 4
	ruleFamily6 = 6
)

// add encodes rules that Check has passed.
func (r Rules) add(b *cryptobyte.Builder) {
	one := func(action uint8, p netip.Prefix) {
		p = plainPrefix(p)
		b.AddUint8(action)
		b.AddUint8(uint8(p.Bits()))
		if p.Addr().Is4() {
			b.AddUint8(ruleFamily4)
		} else {
			b.AddUint8(ruleFamily6)
		}
		b.AddBytes(p.Addr().AsSlice())
	}
	for _, p := range r.Allow {
		one(ruleAllow, p)
	}
	for _, p := range r.Deny {
		one(ruleDeny, p)
	}
}

func parseRules(p []byte) (r Rules, err error) {
	for s := cryptobyte.String(p); !s.Empty(); {
		if len(r.Allow)+len(r.Deny) == MaxRules {
			return Rules{}, protocolErrorf("CLAIM with more than %d rules", MaxRules)
		}
		action, prefix, ok := readRule(&s)
		switch {
		case ok && action == ruleAllow:
			r.Allow = append(r.Allow, prefix)
		case ok && action == ruleDeny:
			r.Deny = append(r.Deny, prefix)
		default:
			return Rules{}, protocolErrorf("CLAIM with a rule that is none")
		}
	}
	return r, nil
}

func readRule(s *cryptobyte.String) (action uint8, p netip.Prefix, ok bool) {
	var bits, family uint8
	var addr []byte
	if !s.ReadUint8(&action) || !s.ReadUint8(&bits) || !s.ReadUint8(&family) {
		return 0, p, false
	}
	size := 4
	if family == ruleFamily6 {
		size = 16
	}
	if family != ruleFamily4 && family != ruleFamily6 || !s.ReadBytes(&addr, size) {
		return 0, p, false
	}
	a, _ := netip.AddrFromSlice(addr)
	p = netip.PrefixFrom(a, int(bits))
	return action, plainPrefix(p), p.IsValid()
}

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ranges parses the ranges of addresses under a key, each a prefix or one address.
func (e *Errors) ranges(key string, list []string) (all []netip.Prefix) {
	for _, s := range list {
		p, wrong, hint := parseRange(strings.TrimSpace(s))
		if wrong != "" {
			e.add(key, wrong, hint)
			continue
		}
		all = append(all, p)
	}
	return all
}

// ranges is [Errors.ranges] for a key of a block. It warns of an address with a length
// that reaches further, which may be meant alone.
func (r *serviceReader) ranges(b block, key string) []netip.Prefix {
	shown := key
	if r.inFile() {
		shown = b.at(key)
	}
	for _, s := range b.list(key) {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil || p == p.Masked() {
			continue
		}
		w := Warning{Key: b.at(key), Message: fmt.Sprintf("%s: %s is all of %s", shown, quote(s), p.Masked()), Hints: []string{fmt.Sprintf("did you mean %s, or %s?", p.Addr(), p.Masked())}}
		if !slices.ContainsFunc(r.warnings, func(told Warning) bool { return told.Message == w.Message }) { // of flags, for each service
			r.warnings = append(r.warnings, w)
		}
	}
	return r.errs.ranges(b.at(key), b.list(key))
}

// parseRange parses one range. What is wrong with it is for people.
func parseRange(s string) (p netip.Prefix, wrong, hint string) {
	const forms = "as in 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7"
	if strings.Contains(s, "%") {
		return p, quote(s) + " has a zone, and visitors have none", forms
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), "", ""
	}
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p.Masked(), "", ""
	}
	if len(strings.Fields(s)) > 1 {
		return p, quote(s) + " is not one range of addresses", "several have commas between them, as in 192.0.2.0/24,2001:db8::/32"
	}
	if addr, _, ok := strings.Cut(s, "/"); ok {
		if a, err := netip.ParseAddr(addr); err == nil {
			most := "32"
			if a.Is6() {
				most = "128"
			}
			return p, quote(s) + " is no range of addresses", "behind the slash stands how many bits its addresses have in common, 0 to " + most
		}
	}
	return p, quote(s) + " is neither a range of addresses nor an address", forms
}

package domainproof

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"keystay/internal/hostname"
)

const (
	// maxChain is how many CNAMEs are followed from a name.
	maxChain = 8
	// maxDevices is how many devices a domain may name.
	maxDevices = 64
)

// Look returns the devices that DNS names for a domain, which is in normal form, at
// the relay of zone: by TXT records, and by a CNAME. None is no error: so it is
// where there are no such records, or no such domain. An error, a *[Error] among
// others, says that DNS did not answer, or not with what can be used; then nothing
// is known, even if it has answered a part. It takes up to [Limit].
func (r *Resolver) Look(ctx context.Context, domain, zone string) ([]Named, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit())
	defer cancel()
	var texts Texts
	var chain Chain
	var noTexts, noChain error
	var wg sync.WaitGroup
	wg.Go(func() { texts, noTexts = r.Texts(ctx, domain) })
	wg.Go(func() { chain, noChain = r.Chain(ctx, domain, zone) })
	wg.Wait()
	if noTexts != nil {
		return nil, noTexts
	}
	if noChain != nil {
		return nil, noChain
	}
	list := texts.Named
	if chain.Label != "" {
		list = join(list, Named{Label: chain.Label, Via: "cname", Authenticated: chain.Authenticated})
	}
	return list, nil
}

// Texts are the TXT records at the [Owner] of a domain.
type Texts struct {
	Named  []Named
	Others int // records that hold something else
}

// Texts looks up the TXT records of a domain, over CNAMEs too.
func (r *Resolver) Texts(ctx context.Context, domain string) (t Texts, err error) {
	owner := Owner(domain)
	if len(owner) > hostname.Max {
		return t, nil // there can be none
	}
	found, err := r.begin().follow(ctx, owner, dns.TypeTXT)
	if err != nil {
		return t, err
	}
	for _, rr := range found.records {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		label, ok := Parse(text(txt))
		if !ok {
			t.Others++
			continue
		}
		t.Named = join(t.Named, Named{Label: label, Via: "txt", Authenticated: found.authenticated})
	}
	if len(t.Named) > maxDevices {
		return Texts{}, &Error{Question: question(owner, dns.TypeTXT), Why: fmt.Sprintf("they name more than %d devices", maxDevices)}
	}
	return t, nil
}

// text is what a TXT record holds: its strings as one, without the escapes of
// their form for people (RFC 1035, sections 3.3.14 and 5.1).
func text(rr *dns.TXT) string {
	var b strings.Builder
	for _, s := range rr.Txt {
		if b.WriteString(unescaped(s)); b.Len() > maxText {
			break // it is none of ours
		}
	}
	return b.String()
}

// unescaped is what stands in the form for people. Of a name it is its labels with dots
// between them, as browsers put them together: a dot in a label is one more.
func unescaped(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
			if n, ok := decimal(s[i:]); ok {
				c, i = n, i+2
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// decimal reads a byte that is written as three digits.
func decimal(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return byte(n), n <= 255
}

// A Chain is where the CNAMEs of a domain lead.
type Chain struct {
	Names         []string // the targets, one after the other; without any there is no CNAME
	Label         string   // the label made from a key where it ends; empty where it names no device
	Authenticated bool     // as in Named
}

// Chain follows the CNAMEs of a domain until one leads to a name below zone, or
// none leads on. Each is asked for, so that what lies at the end need not answer.
func (r *Resolver) Chain(ctx context.Context, domain, zone string) (c Chain, err error) {
	c.Authenticated = true
	asks := r.begin()
	at := dns.CanonicalName(domain)
	seen := map[string]bool{at: true}
	for {
		m, err := asks.ask(ctx, at, dns.TypeCNAME)
		if err != nil {
			return Chain{}, err
		}
		c.Authenticated = c.Authenticated && m.AuthenticatedData
		next := cname(m, at)
		if next == "" {
			return c, nil
		}
		if err := another(seen, next, domain, dns.TypeCNAME); err != nil {
			return Chain{}, err
		}
		at = next
		name := strings.TrimSuffix(next, ".")
		c.Names = append(c.Names, name)
		if label, ok := labelIn(name, zone); ok {
			c.Label = label
		}
		if name == zone || hostname.IsBelow(name, zone) {
			return c, nil // what follows is the relay's operator's
		}
	}
}

// Addresses returns the addresses of a name, over CNAMEs too. None is no error.
func (r *Resolver) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	h, err := r.Host(ctx, name)
	return h.Addresses, err
}

// A Host is where a name leads.
type Host struct {
	Addresses     []netip.Addr
	Aliases       []string // the targets of CNAMEs from it, one after the other
	Authenticated bool     // as in Named
}

// Host returns the addresses of a name, and the CNAMEs on the way to them. None is no
// error.
func (r *Resolver) Host(ctx context.Context, name string) (h Host, err error) {
	asks := r.begin()
	h.Authenticated = true
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := asks.follow(ctx, name, kind)
		if err != nil {
			return Host{}, err
		}
		h.Authenticated = h.Authenticated && found.authenticated
		if len(found.aliases) > len(h.Aliases) {
			h.Aliases = found.aliases
		}
		for _, rr := range found.records {
			var a netip.Addr
			var ok bool
			switch rr := rr.(type) {
			case *dns.A:
				a, ok = netip.AddrFromSlice(rr.A)
			case *dns.AAAA:
				a, ok = netip.AddrFromSlice(rr.AAAA)
			}
			if ok {
				h.Addresses = append(h.Addresses, a.Unmap())
			}
		}
	}
	return h, nil
}

// found are the records of one kind that a name leads to.
type found struct {
	records       []dns.RR
	aliases       []string // the targets of CNAMEs, one after the other
	authenticated bool
}

// follow asks for the records of a name, and along its CNAMEs, which a resolver
// mostly does itself.
func (a *asker) follow(ctx context.Context, name string, kind uint16) (f found, err error) {
	f.authenticated = true
	at := dns.CanonicalName(name)
	seen := map[string]bool{at: true}
	for {
		m, err := a.ask(ctx, at, kind)
		if err != nil {
			return found{}, err
		}
		f.authenticated = f.authenticated && m.AuthenticatedData
		asked := at
		for next := cname(m, at); next != ""; next = cname(m, at) {
			if err := another(seen, next, name, kind); err != nil {
				return found{}, err
			}
			at = next
			f.aliases = append(f.aliases, strings.TrimSuffix(at, "."))
		}
		for _, rr := range m.Answer {
			if h := rr.Header(); h.Rrtype == kind && h.Class == dns.ClassINET && dns.CanonicalName(h.Name) == at {
				f.records = append(f.records, rr)
			}
		}
		if len(f.records) > 0 || at == asked || m.Rcode == dns.RcodeNameError {
			return f, nil
		}
	}
}

// cname returns where the CNAME of a name leads in an answer, or nothing.
func cname(m *dns.Msg, name string) string {
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET && dns.CanonicalName(c.Hdr.Name) == name {
			return dns.CanonicalName(c.Target)
		}
	}
	return ""
}

// another notes one more name of a chain, or says why it cannot be followed.
func another(seen map[string]bool, next, name string, kind uint16) error {
	switch {
	case seen[next]:
		return &Error{Question: question(name, kind), Why: "its CNAMEs lead round in a circle"}
	case len(seen) > maxChain:
		return &Error{Question: question(name, kind), Why: fmt.Sprintf("more than %d CNAMEs lead on from it", maxChain)}
	}
	seen[next] = true
	return nil
}

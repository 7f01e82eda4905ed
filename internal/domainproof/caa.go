package domainproof

import (
	"context"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// CAA is what DNS says of the CAs that may issue a certificate for a name: the records
// that count (RFC 8659, section 3).
type CAA struct {
	// At is the name whose records count: the first that has any, from the name itself
	// upwards. It is empty where none has; then any CA may issue.
	At string `json:"at"`
	// Issue are the issue properties there. Without any, any CA may issue.
	Issue []Issue `json:"issue"`
	// Critical are tags that are marked as critical and not known here. A CA that does
	// not know them either may not issue.
	Critical []string `json:"critical,omitempty"`
	// Aliases are the names that CNAMEs led to from the names that were asked about, up
	// to At. A CAA record at one of them would count before all others, so whoever runs
	// its zone decides.
	Aliases []string `json:"aliases,omitempty"`
	// Authenticated is as in Named: it is of all answers.
	Authenticated bool `json:"authenticated"`
}

// An Issue is an issue property (RFC 8659, section 4.2).
type Issue struct {
	Text string `json:"text"` // as it stands in DNS
	// CA is the domain of the CA that may issue; empty where the property lets none.
	CA string `json:"ca"`
	// Account is the one account that may order there (RFC 8657, section 3), and empty
	// where every one may.
	Account string `json:"account,omitempty"`
	// Methods are the ways of validation that are allowed (RFC 8657, section 4); nil is
	// all of them.
	Methods []string `json:"methods,omitempty"`
}

// CAA asks for the CAA records that count for a domain, which is in normal form: those
// of the domain itself, where CNAMEs lead to them too, or else of its parents up to the
// top, each in the same way. The CNAMEs of a target's parents are not followed.
func (r *Resolver) CAA(ctx context.Context, domain string) (CAA, error) {
	c := CAA{Authenticated: true, Issue: []Issue{}}
	asks := r.begin()
	for at := domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		found, err := asks.follow(ctx, at, dns.TypeCAA)
		if err != nil {
			return CAA{}, err
		}
		c.Authenticated = c.Authenticated && found.authenticated
		for _, name := range found.aliases {
			if !slices.Contains(c.Aliases, name) {
				c.Aliases = append(c.Aliases, name)
			}
		}
		if len(found.records) > 0 {
			c.At = at
			c.take(found.records)
			return c, nil
		}
	}
	return c, nil
}

// take reads the records that count.
func (c *CAA) take(records []dns.RR) {
	for _, rr := range records {
		r, ok := rr.(*dns.CAA)
		if !ok {
			continue
		}
		switch tag := strings.ToLower(r.Tag); tag {
		case "issue":
			c.Issue = append(c.Issue, ParseIssue(r.Value))
		case "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone": // nothing of the name itself
		default:
			if r.Flag&128 != 0 {
				c.Critical = append(c.Critical, tag)
			}
		}
	}
}

// ParseIssue reads the value of an issue property. One that is not well formed lets no
// CA issue, nor does one that names two accounts, or gives two lists of methods.
func ParseIssue(value string) Issue {
	i := Issue{Text: value}
	domain, params, _ := strings.Cut(value, ";")
	ca := strings.ToLower(strings.Trim(domain, " \t"))
	seen := make(map[string]bool)
	for param := range strings.SplitSeq(params, ";") {
		tag, v, is := strings.Cut(param, "=")
		tag, v = strings.ToLower(strings.Trim(tag, " \t")), strings.Trim(v, " \t")
		switch {
		case !is && tag == "":
			continue
		case !is || tag == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }):
			return Issue{Text: value}
		case tag == "accounturi":
			i.Account = v
		case tag == "validationmethods":
			i.Methods = strings.Split(v, ",")
		default:
			continue
		}
		if seen[tag] || v == "" {
			return Issue{Text: value}
		}
		seen[tag] = true
	}
	i.CA = ca
	return i
}

// Of returns the records as they are for the CAs with these names, which are the
// caaIdentities of their directories (RFC 8555, section 9.7.6): properties for others let
// none issue.
func (c *CAA) Of(cas []string) CAA {
	of := *c
	of.Issue = slices.Clone(c.Issue)
	for k := range of.Issue {
		if i := &of.Issue[k]; !slices.ContainsFunc(cas, func(ca string) bool { return strings.EqualFold(ca, i.CA) }) {
			i.CA = ""
		}
	}
	return of
}

// OnlyFor reports whether every CA that keeps to RFC 8659 and RFC 8657 refuses all
// accounts but these. It is false
// without any issue property.
func (c *CAA) OnlyFor(accounts ...string) bool {
	if len(c.Issue) == 0 {
		return false
	}
	return !slices.ContainsFunc(c.Issue, func(i Issue) bool { return i.CA != "" && !slices.Contains(accounts, i.Account) })
}

// Lets reports whether an account can have a certificate issued by one of these ways of
// validation. An empty account stands for one that is not known.
func (c *CAA) Lets(account string, methods ...string) bool {
	if len(c.Critical) > 0 {
		return false
	}
	if len(c.Issue) == 0 {
		return true
	}
	return slices.ContainsFunc(c.Issue, func(i Issue) bool {
		return i.CA != "" && (i.Account == "" || i.Account == account) && (i.Methods == nil ||
			slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(i.Methods, m) }))
	})
}

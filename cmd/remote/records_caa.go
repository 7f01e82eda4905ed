package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"keystay/internal/domainproof"
	"keystay/internal/plain"
)

// methods are the ways of validation that a remote has.
var methods = []string{"tls-alpn-01", "http-01"}

// caaRecords are which CAs and accounts may have a certificate for a domain.
type caaRecords struct {
	domainproof.CAA

	Accounts []string `json:"accounts"` // those of this device
	Wanted   []record `json:"wanted"`   // what keeps all others out, one for each account
	Only     bool     `json:"only"`     // nobody but these accounts may have one
	// Forbidden says that this device may have none.
	Forbidden bool   `json:"forbidden"`
	Error     string `json:"error,omitempty"` // why DNS could not be asked; then nothing above is known
}

// certificates says who may have a certificate for the domain. That DNS does not answer
// the question takes nothing from the other records.
func (l *look) certificates(ctx context.Context, accounts []string) {
	c := &l.records.CAA
	c.Accounts, c.Wanted = slices.Concat([]string{}, accounts), []record{}
	var err error
	if c.CAA, err = l.dns.CAA(ctx, l.Domain); err != nil {
		c.Issue, c.Error = []domainproof.Issue{}, err.Error()
		l.note("who may have a certificate for the domain is not known: %s", c.Error)
		return
	}
	if len(accounts) == 0 {
		l.note("this device has no account at a CA yet: start remote once, and run this again to see the CAA record that keeps all others from a certificate")
	}
	for _, a := range accounts {
		r := record{Name: l.Domain, Type: "CAA", Value: fmt.Sprintf("0 issue \"%s; accounturi=%s; validationmethods=%s\"", caaName(a), a, strings.Join(methods, ","))}
		r.There = slices.ContainsFunc(c.Issue, func(i domainproof.Issue) bool { return i.CA != "" && i.Account == a })
		c.Wanted = append(c.Wanted, r)
	}
	c.Only = len(accounts) > 0 && c.OnlyFor(accounts...)
	c.Forbidden = !slices.ContainsFunc(append(slices.Clone(accounts), ""), func(a string) bool { return c.Lets(a, methods...) })
	l.operatorProof()
}

// operatorProof decides whether DNS keeps the operator of a relay from a certificate:
// all that may be issued is for this device's accounts, and no CNAME gives another zone's
// owner the last word (RFC 8659, section 3: the records that a CNAME leads to count
// before those of the domain's parents).
func (l *look) operatorProof() {
	c := &l.records.CAA
	l.OperatorProof = l.Proven && l.Reached && c.Only && !c.Forbidden
	top, _ := publicsuffix.EffectiveTLDPlusOne(l.Domain)
	for _, a := range c.Aliases {
		if other, err := publicsuffix.EffectiveTLDPlusOne(a); err == nil && other == top {
			continue
		}
		l.OperatorProof = false
		l.note("a CNAME leads to %s: whoever runs that zone can set a CAA record there, which counts before yours, and so have a certificate for %s; use A and AAAA records, and a TXT record as the proof", a, l.Domain)
		break
	}
	switch {
	case c.Forbidden:
		l.note("the CAA records at %s let no account of this device have a certificate", c.At)
	case c.Only && !c.Authenticated:
		l.note("the DNS server has not checked signatures (DNSSEC) of the CAA records, or there are none: whoever can forge DNS answers to a CA is not kept out")
	case c.At != "" && !c.Only:
		l.note("the CAA records at %s let others than this device have a certificate", c.At)
	}
}

// caaName is what a CA is called in CAA records, as far as its account's URL shows it.
func caaName(account string) string {
	u, err := url.Parse(account)
	if err != nil {
		return "CA"
	}
	top, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname())
	if err != nil {
		return "CA"
	}
	known := map[string]string{"zerossl.com": "sectigo.com"}
	return cmp.Or(known[top], top)
}

// writeCAA shows to a person who may have a certificate.
func (r *records) writeCAA(w io.Writer) {
	c := r.CAA
	if len(c.Wanted) > 0 {
		state := "not set"
		switch {
		case c.Error != "":
			state = "not checked"
		case c.Only:
			state = "ok"
		}
		fmt.Fprintf(w, "\nThis keeps all others from having a certificate, if it is the only one: %s\n", state)
		for _, rec := range c.Wanted {
			there := "-"
			if rec.There {
				there = "there"
			}
			fmt.Fprintf(w, "  %s  %s  %s  %s\n", there, rec.Name, rec.Type, plain.Text(rec.Value))
		}
	}
	switch {
	case r.OperatorProof && c.Authenticated:
		fmt.Fprintf(w, "\noperator-proof: yes, as the DNS server says, which has checked the signatures (DNSSEC)\n")
	case r.OperatorProof:
		fmt.Fprintf(w, "\noperator-proof: yes, as the DNS server says\n")
	default:
		fmt.Fprintf(w, "\noperator-proof: no\n")
	}
}

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"keystay/internal/domainproof"
)

// A record is one that a domain's DNS may have.
type record struct {
	For   string `json:"for"` // "proof" or "visitors"
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	There bool   `json:"there"`
}

// What a record is for.
const (
	forProof    = "proof"    // it says that the domain is this device's
	forVisitors = "visitors" // it leads visitors to the relay
)

// records are what a domain needs to be served by a device, and what there is.
type records struct {
	Domain   string   `json:"domain"`
	Relays   []string `json:"relays"`
	Identity string   `json:"identity"` // the label made from the device's key

	// Proven says that DNS names the device, and Reached that all visitors get to
	// a relay. One record of each kind is enough.
	Proven  bool     `json:"proven"`
	Reached bool     `json:"reached"`
	Records []record `json:"records"`

	// Authenticated says that the DNS server has checked the signatures of the proof.
	Authenticated bool     `json:"authenticated"`
	Others        []string `json:"others"` // the labels of other devices that DNS names
	Notes         []string `json:"notes"`  // what else is wrong, in words

	CAA caaRecords `json:"caa"`

	homePort string // where this device listens itself; empty where it does not

	// OperatorProof says that DNS lets nobody but this device have a certificate for
	// the domain, whatever the operator of a relay does.
	OperatorProof bool `json:"operator_proof"`
}

// A look is the asking for the records of a domain.
type look struct {
	dns domainproof.Resolver
	records
	texts domainproof.Texts
	chain domainproof.Chain
	has   []netip.Addr            // addresses of the domain
	own   []netip.Addr            // addresses at which this device listens
	at    map[string][]netip.Addr // addresses of the relays
}

// lookUp asks DNS for what a domain needs at the relays, which are host names. Accounts
// are those that the device has at CAs.
func lookUp(ctx context.Context, dns domainproof.Resolver, domain, identity string, relays, accounts, listen []string) (*records, error) {
	l := &look{dns: dns, at: make(map[string][]netip.Addr),
		records: records{Domain: domain, Relays: relays, Identity: identity, Records: []record{}, Others: []string{}, Notes: []string{}}}
	if err := l.ask(ctx); err != nil {
		return nil, err
	}
	l.home(listen)
	if l.isRelays() { // which needs no records of its owner's
		l.Proven, l.Reached = true, true
		return &l.records, nil
	}
	l.proof()
	l.visitors()
	l.certificates(ctx, accounts)
	return &l.records, nil
}

// ask puts all questions.
func (l *look) ask(ctx context.Context) (err error) {
	if l.texts, err = l.dns.Texts(ctx, l.Domain); err != nil {
		return err
	}
	for _, relay := range l.Relays {
		var c domainproof.Chain
		if c, err = l.dns.Chain(ctx, l.Domain, relay); err != nil {
			return err
		}
		if l.chain.Label == "" {
			l.chain = c
		}
		if l.at[relay], err = l.dns.Addresses(ctx, relay); err != nil {
			return err
		}
	}
	l.has, err = l.dns.Addresses(ctx, l.Domain)
	return err
}

// proof says which records name the device.
func (l *look) proof() {
	txt := record{For: forProof, Name: domainproof.Owner(l.Domain), Type: "TXT", Value: domainproof.Record(l.Identity)}
	for _, n := range l.texts.Named {
		if n.Label == l.Identity {
			txt.There, l.Authenticated = true, n.Authenticated
			continue
		}
		l.Others = append(l.Others, n.Label)
	}
	l.Records = append(l.Records, txt)
	if l.texts.Others > 0 && !txt.There {
		l.note("%s has %d TXT records that are none of keystay's: look at the spelling", txt.Name, l.texts.Others)
	}
	if !l.isTop() {
		for _, relay := range l.Relays {
			r := record{For: forProof, Name: l.Domain, Type: "CNAME", Value: domainproof.Target(l.Identity, relay)}
			if r.There = slices.Contains(l.chain.Names, r.Value); r.There && !txt.There {
				l.Authenticated = l.chain.Authenticated
			}
			l.Records = append(l.Records, r)
		}
	}
	if l.chain.Label != "" && l.chain.Label != l.Identity && !slices.Contains(l.Others, l.chain.Label) {
		l.Others = append(l.Others, l.chain.Label)
	}
	l.Proven = slices.ContainsFunc(l.Records, func(r record) bool { return r.There })
	for _, other := range l.Others {
		l.note("DNS names another device: %s; while it does, that one keeps the domain where it has it", other)
	}
}

// isTop reports whether nobody but its owner has names beside the domain: it has
// records of its own, such as NS, and cannot be a CNAME (RFC 1034, section 3.6.2).
func (l *look) isTop() bool {
	top, err := publicsuffix.EffectiveTLDPlusOne(l.Domain)
	return err == nil && top == l.Domain
}

// visitors says which records lead to the relays.
func (l *look) visitors() {
	var all []netip.Addr
	for _, relay := range l.Relays {
		if len(l.at[relay]) == 0 {
			l.note("%s has no address: is that the relay's name?", relay)
		}
		all = append(all, l.at[relay]...)
		for _, a := range l.at[relay] {
			kind := "A"
			if a.Is6() {
				kind = "AAAA"
			}
			l.Records = append(l.Records, record{For: forVisitors, Name: l.Domain, Type: kind, Value: a.String(), There: slices.Contains(l.has, a)})
		}
		if !l.isTop() {
			l.Records = append(l.Records, record{For: forVisitors, Name: l.Domain, Type: "CNAME", Value: relay, There: slices.Contains(l.chain.Names, relay)})
		}
	}
	l.Reached = slices.ContainsFunc(l.has, func(a netip.Addr) bool { return slices.Contains(all, a) })
	for _, a := range l.has {
		if !slices.Contains(all, a) && !slices.Contains(l.own, a) {
			l.Reached = false
			l.note("%s leads to %s, which is not an address of %s", l.Domain, a, strings.Join(l.Relays, " or "))
		}
	}
	if len(l.has) == 0 {
		l.note("%s has no address", l.Domain)
	}
}

func (l *look) note(format string, args ...any) {
	l.Notes = append(l.Notes, fmt.Sprintf(format, args...))
}

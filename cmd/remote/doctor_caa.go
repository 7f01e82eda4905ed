package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"keystay/acme"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/remote"
)

// caNames returns the names by which CAA records have the CAs, or nil where that of one is
// not known: one of them may be enough.
func caNames(cas []*visited) (all []string) {
	for _, v := range cas {
		var says struct {
			Meta struct {
				CAA []string `json:"caaIdentities"` // RFC 8555, section 9.7.6
			} `json:"meta"`
		}
		if v.err == nil {
			_ = json.Unmarshal(v.page.body, &says) // the step ca says what is no directory
		}
		names := says.Meta.CAA
		if len(names) == 0 && v.directory == acme.LetsEncrypt {
			names = []string{"letsencrypt.org"}
		}
		if len(names) == 0 {
			return nil
		}
		all = append(all, names...)
	}
	return all
}

// ownCAA says whom the CAA records of a domain of the owner's let have a certificate.
func ownCAA(domain, relay string, cas []string, recs *records, recErr error) cli.Finding {
	const step = "caa"
	switch {
	case recErr != nil:
		return cli.NotRun(step, domain, "DNS was not asked: %v", recErr)
	case recs.CAA.Error != "":
		return cli.Amiss(step, domain, hint.DNSFails.Error(errors.New(recs.CAA.Error)))
	}
	if err := forbidden(&recs.CAA.CAA, recs.CAA.Accounts, cas, domain, relay); err != nil {
		return cli.Amiss(step, domain, err)
	}
	switch {
	case recs.OperatorProof && recs.CAA.Authenticated:
		return cli.Fine(step, domain, "operator-proof, as the DNS server says, which has checked the signatures (DNSSEC)")
	case recs.OperatorProof:
		return cli.Fine(step, domain, "operator-proof, as the DNS server says; %s", strings.Join(recs.Notes, "; "))
	case len(cas) == 0 && len(recs.CAA.Issue) > 0:
		return unnamed(domain, recs.CAA.At)
	}
	f := cli.Fine(step, domain, "not operator-proof: %s", strings.Join(append(slices.Clone(recs.Notes), "whoever runs the relay could have a certificate for it"), "; "))
	f.Hints = hint.DoctorOperator.With("NAME", domain, "RELAY", relay)
	return f
}

// caa looks whom the CAA records of a relay's zone let have a certificate for a name.
func (d *doctor) caa(ctx context.Context, domain, relay string, cas []string) cli.Finding {
	const step = "caa"
	c, err := d.senses.caa(ctx, domain)
	if err != nil {
		return cli.Amiss(step, domain, dnsError(err))
	}
	accounts, err := acme.Accounts(remote.ACMEDir(d.cfg.StateDir))
	if err == nil {
		err = forbidden(&c, accounts, cas, domain, relay)
	}
	switch {
	case err != nil:
		return cli.Amiss(step, domain, err)
	case c.At == "":
		return cli.Fine(step, domain, "DNS has no CAA record: every CA may issue, to this device and to whoever runs the relay")
	case len(accounts) > 0 && c.OnlyFor(accounts...):
		return cli.Fine(step, domain, "the CAA records at %s let only this device have a certificate; whoever runs the relay runs that zone, too", c.At)
	case len(cas) == 0 && len(c.Issue) > 0:
		return unnamed(domain, c.At)
	}
	return cli.Fine(step, domain, "the CAA records at %s let this device have a certificate, and others", c.At)
}

func unnamed(domain, at string) cli.Finding {
	return cli.NotRun("caa", domain, "there are CAA records at %s, and how they name the CA is not known", at)
}

// forbidden returns why the records let no account of this device have a certificate: of
// any CA, or of those with the names cas, as far as these are known.
func forbidden(c *domainproof.CAA, accounts, cas []string, domain, relay string) error {
	accounts = append(slices.Clone(accounts), "") // one that is not made yet
	lets := func(c domainproof.CAA) bool {
		return slices.ContainsFunc(accounts, func(a string) bool { return c.Lets(a, methods...) })
	}
	switch {
	case !lets(*c):
		err := fmt.Errorf("the CAA records at %s let no account of this device have a certificate", c.At)
		return hint.DoctorForbidden.Error(err, "NAME", domain, "RELAY", relay)
	case len(cas) > 0 && !lets(c.Of(cas)):
		err := fmt.Errorf("the CAA records at %s let none of %s issue one for this device", c.At, strings.Join(cas, ", "))
		return hint.DoctorOtherCA.Error(err, "NAME", domain, "ISSUER", cas[0])
	}
	return nil
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"keystay/acme"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
)

// anyLabel is a name that nobody has: what it leads to, all names do.
const anyLabel = "keystay-check-nobody-has-this"

// dns looks where the domain and the names below it lead, as each resolver sees it. It
// returns the addresses of the domain.
func (c *checker) dns(ctx context.Context) (list []cli.Finding, leads []string) {
	for _, r := range c.senses.resolvers {
		about := c.cfg.Domain
		if r.name != "" {
			about += " by " + r.name
		}
		own, err := r.host(ctx, c.cfg.Domain)
		if err != nil {
			list = append(list, cli.Amiss("dns", about, hint.CheckNoDNS.Error(err)))
			continue
		}
		list = append(list, c.apex(about, own)...)
		leads = append(leads, texts(own.Addresses)...)
		below, err := r.host(ctx, anyLabel+"."+c.cfg.Domain)
		list = append(list, c.wildcard(about, own, below, err))
	}
	slices.Sort(leads)
	leads = slices.Compact(leads)
	return append(list, c.familiesOf(leads)...), leads
}

func texts(list []netip.Addr) (all []string) {
	for _, a := range list {
		all = append(all, a.String())
	}
	return all
}

// apex looks at the records of the domain itself.
func (c *checker) apex(about string, h domainproof.Host) []cli.Finding {
	var list []cli.Finding
	top, err := publicsuffix.EffectiveTLDPlusOne(c.cfg.Domain)
	alias := func() error {
		return hint.CheckAlias.Error(fmt.Errorf("it is a CNAME to %s", h.Aliases[0]), "NAME", c.cfg.Domain)
	}
	switch {
	case len(h.Addresses) == 0:
		list = append(list, cli.Amiss("dns", about, hint.CheckNoAddress.Error(errors.New("it has no address"), "NAME", c.cfg.Domain)))
	case len(h.Aliases) > 0 && err == nil && top == c.cfg.Domain:
		list = append(list, cli.Amiss("dns", about, alias()))
	case len(h.Aliases) > 0:
		list = append(list, cli.Note("dns", about, alias()))
	default:
		list = append(list, cli.Fine("dns", about, "it leads to %s", strings.Join(texts(h.Addresses), ", ")))
	}
	if h.Authenticated {
		return append(list, cli.Fine("dnssec", about, "the resolver has checked the signatures"))
	}
	return append(list, cli.Note("dnssec", about, hint.CheckUnsigned.Error(errors.New("no resolver has checked signatures of it"))))
}

// wildcard compares where names below the domain lead with where it leads itself.
func (c *checker) wildcard(about string, own, below domainproof.Host, err error) cli.Finding {
	is, want := texts(below.Addresses), texts(own.Addresses)
	slices.Sort(is)
	slices.Sort(want)
	about = "*." + about
	switch {
	case err != nil:
		return cli.Amiss("wildcard", about, hint.CheckNoDNS.Error(err))
	case len(want) == 0:
		return cli.NotRun("wildcard", about, "there is nothing to compare it with")
	case len(is) == 0:
		return cli.Amiss("wildcard", about, hint.CheckNoWildcard.Error(errors.New("names below the domain lead nowhere"), "NAME", c.cfg.Domain))
	case !slices.Equal(is, want):
		return cli.Amiss("wildcard", about, hint.CheckNoWildcard.Error(fmt.Errorf("names below the domain lead to %s", strings.Join(is, ", ")), "NAME", c.cfg.Domain))
	}
	return cli.Fine("wildcard", about, "names below the domain lead there, too")
}

// familiesOf looks whether something listens for each family that DNS leads to.
func (c *checker) familiesOf(leads []string) (list []cli.Finding) {
	four, six := c.families()
	for _, a := range leads {
		ip, _ := netip.ParseAddr(a)
		if family, ok := "IPv4", four; ip.Is6() {
			family, ok = "IPv6", six
			if !ok {
				list = append(list, cli.Amiss("listen", a, hint.CheckFamily.Error(fmt.Errorf("DNS leads to it over %s, and nothing listens there", family))))
			}
		} else if !ok {
			list = append(list, cli.Amiss("listen", a, hint.CheckFamily.Error(fmt.Errorf("DNS leads to it over %s, and nothing listens there", family))))
		}
	}
	return list
}

// reach looks whether the addresses are this machine's, and whether the relay that runs
// answers there.
func (c *checker) reach(ctx context.Context, leads []string) []cli.Finding {
	found := make([][]cli.Finding, len(leads))
	var wg sync.WaitGroup
	for i, a := range leads {
		if !c.here(a) {
			found[i] = append(found[i], cli.Note("reach", a, hint.CheckElsewhere.Error(errors.New("no interface of this machine has it"), "NAME", c.cfg.Domain)))
		}
		if c.running == nil {
			found[i] = append(found[i], cli.NotRun("reach", a, "no relay runs that could answer"))
			continue
		}
		wg.Go(func() {
			at := net.JoinHostPort(a, strconv.Itoa(c.publicPort()))
			domain, err := c.senses.about(ctx, at)
			switch {
			case err == nil && domain == c.cfg.Domain:
				found[i] = append(found[i], cli.Fine("reach", at, "the relay answers there"))
				return
			case err == nil:
				err = fmt.Errorf("the relay of %q answers there", domain)
			}
			found[i] = append(found[i], cli.Amiss("reach", at, hint.CheckNotReached.Error(err, "NAME", c.cfg.Domain)))
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// publicPort is the one that visitors use.
func (c *checker) publicPort() int {
	for _, s := range c.running.Sockets {
		if _, port, err := net.SplitHostPort(s.Addr); s.For == "public" && err == nil {
			n, _ := strconv.Atoi(port)
			return n
		}
	}
	return 443
}

// suffix looks whether browsers and CAs take the names below the domain for those of
// many owners.
func (c *checker) suffix() []cli.Finding {
	if suffix, _ := publicsuffix.PublicSuffix(c.cfg.Domain); suffix == c.cfg.Domain {
		return []cli.Finding{cli.Fine("psl", c.cfg.Domain, "it is on the Public Suffix List: each name below it is a site and has a limit at the CA of its own")}
	}
	if c.cfg.Names.Policy == "open" {
		return []cli.Finding{cli.Note("psl", c.cfg.Domain, hint.CheckNotPublicSuffix.Error(errors.New("it is not on the Public Suffix List")))}
	}
	return []cli.Finding{cli.Fine("psl", c.cfg.Domain, "it is not on the Public Suffix List, which only matters where strangers take names")}
}

// authority asks the CA's directory, which also has a clock.
func (c *checker) authority(ctx context.Context) []cli.Finding {
	if c.cfg.TLS.CertFile != "" {
		return []cli.Finding{cli.NotRun("ca", "", "the certificate comes from files"), cli.NotRun("clock", "", "there is no CA to compare it with")}
	}
	asked := c.senses.now()
	d, err := c.senses.directory(ctx, c.cfg.ACME.CA)
	c.ca = d
	if err != nil {
		return []cli.Finding{cli.Amiss("ca", d.url, err), cli.NotRun("clock", "", "there is nothing to compare it with")}
	}
	list := []cli.Finding{cli.Fine("ca", d.url, "it answers")}
	if off := d.clock.Sub(asked); off.Abs() > 2*time.Minute {
		return append(list, cli.Amiss("clock", "", hint.CheckClock.Error(
			fmt.Errorf("this machine's clock says %s, the CA's %s", asked.UTC().Format(time.RFC3339), d.clock.UTC().Format(time.RFC3339)))))
	}
	return append(list, cli.Fine("clock", "", "it agrees with the CA's"))
}

// caa looks whether DNS lets the CA issue for the domain, and so for names below it.
func (c *checker) caa(ctx context.Context) []cli.Finding {
	if c.cfg.TLS.CertFile != "" {
		return []cli.Finding{cli.NotRun("caa", "", "the certificate comes from files")}
	}
	records, err := c.senses.resolvers[0].caa(ctx, c.cfg.Domain)
	switch {
	case err != nil:
		return []cli.Finding{cli.Amiss("caa", c.cfg.Domain, hint.CheckNoDNS.Error(err))}
	case len(records.Issue) == 0 && len(records.Critical) == 0:
		return []cli.Finding{cli.Fine("caa", c.cfg.Domain, "no CAA record keeps a CA from issuing")}
	case len(c.ca.names) == 0:
		return []cli.Finding{cli.NotRun("caa", c.cfg.Domain, "there are CAA records at %s, and it is not known how they name the CA", records.At)}
	}
	for _, i := range records.Issue {
		if slices.Contains(c.ca.names, i.CA) && len(records.Critical) == 0 {
			return []cli.Finding{cli.Fine("caa", c.cfg.Domain, "the CAA records at %s let %s issue", records.At, i.CA)}
		}
	}
	return []cli.Finding{cli.Amiss("caa", c.cfg.Domain, hint.CheckForbidden.Error(
		fmt.Errorf("the CAA records at %s let %s issue nothing", records.At, c.ca.names[0]), "NAME", c.cfg.Domain, "ISSUER", c.ca.names[0]))}
}

// endsSoon is how long before its end a certificate should have been renewed.
const endsSoon = 7 * 24 * time.Hour

// certificate looks at the relay's own: that of the relay that runs, or the files.
func (c *checker) certificate() []cli.Finding {
	if c.cfg.TLS.CertFile != "" {
		files, err := acme.LoadFiles(c.cfg.TLS.CertFile, c.cfg.TLS.KeyFile, c.cfg.Domain)
		if err != nil {
			return []cli.Finding{cli.Amiss("certificate", c.cfg.TLS.CertFile, err)}
		}
		var list []cli.Finding
		for _, err := range files.Unfit(c.cfg.Domain, c.senses.now()) {
			list = append(list, cli.Amiss("certificate", c.cfg.TLS.CertFile, err))
		}
		if err := files.Incomplete(nil); err != nil {
			list = append(list, cli.Note("certificate", c.cfg.TLS.CertFile, err))
		}
		if len(list) == 0 {
			list = append(list, cli.Fine("certificate", c.cfg.TLS.CertFile, "it is for %s, and valid", c.cfg.Domain))
		}
		return list
	}
	if c.running != nil && c.running.CertificateUntil != nil {
		return []cli.Finding{c.until(*c.running.CertificateUntil)}
	}
	until, err := storedCertificate(filepath.Join(c.cfg.StateDir, "acme"), c.cfg.Domain)
	if err != nil {
		return []cli.Finding{cli.NotRun("certificate", c.cfg.Domain, "there is none yet: it is ordered at the start")}
	}
	return []cli.Finding{c.until(until)}
}

func (c *checker) until(t time.Time) cli.Finding {
	switch left := t.Sub(c.senses.now()); {
	case left <= 0:
		return cli.Amiss("certificate", c.cfg.Domain, hint.CheckCertificate.Error(fmt.Errorf("it has expired on %s", t.Format(time.DateOnly))))
	case left < endsSoon:
		return cli.Amiss("certificate", c.cfg.Domain, hint.CheckCertificate.Error(fmt.Errorf("it ends in %s, and was to be renewed by now", span(left))))
	default:
		return cli.Fine("certificate", c.cfg.Domain, "until %s, in %s", t.Format(time.DateOnly), span(left))
	}
}

// storedCertificate returns until when the newest certificate in dir is valid.
func storedCertificate(dir, domain string) (until time.Time, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "certificates", "*", domain, domain+".crt"))
	if err == nil && len(files) == 0 {
		err = os.ErrNotExist
	}
	for _, file := range files {
		b, rerr := os.ReadFile(file)
		if rerr != nil {
			err = rerr
			continue
		}
		block, _ := pem.Decode(b)
		if block == nil {
			continue
		}
		if cert, perr := x509.ParseCertificate(block.Bytes); perr == nil && cert.NotAfter.After(until) {
			until = cert.NotAfter
		}
	}
	if until.IsZero() && err == nil {
		err = os.ErrNotExist
	}
	return until, err
}

// ownServers looks whether the operator's own servers take connections.
func (c *checker) ownServers(ctx context.Context) []cli.Finding {
	type server struct{ step, about, addr string }
	var all []server
	add := func(step, about string, addrs ...string) {
		for _, a := range addrs {
			if a != "" {
				all = append(all, server{step, strings.TrimSpace(about + " " + a), a})
			}
		}
	}
	for _, s := range c.cfg.Static {
		add("static", s.Name, s.To, s.HTTP)
	}
	add("fallback", "", c.cfg.Fallback.To, c.cfg.Fallback.HTTP)
	list := make([]cli.Finding, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			if err := c.senses.connects(ctx, s.addr); err != nil {
				list[i] = cli.Amiss(s.step, s.about, hint.CheckOwnServer.Error(err))
				return
			}
			list[i] = cli.Fine(s.step, s.about, "it takes connections")
		})
	}
	wg.Wait()
	return list
}

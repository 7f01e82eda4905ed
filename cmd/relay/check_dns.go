package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

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
		family, listens := "IPv4", four
		if ip, _ := netip.ParseAddr(a); ip.Is6() {
			family, listens = "IPv6", six
		}
		if !listens {
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

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

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
	if len(records.Critical) == 0 {
		for _, i := range records.Of(c.ca.names).Issue {
			if i.CA != "" {
				return []cli.Finding{cli.Fine("caa", c.cfg.Domain, "the CAA records at %s let %s issue", records.At, i.CA)}
			}
		}
	}
	return []cli.Finding{cli.Amiss("caa", c.cfg.Domain, hint.CheckForbidden.Error(
		fmt.Errorf("the CAA records at %s let %s issue nothing", records.At, c.ca.names[0]), "NAME", c.cfg.Domain, "ISSUER", c.ca.names[0]))}
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

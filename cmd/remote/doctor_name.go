package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keystay/acme"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/statement"
	"keystay/remote"
	"keystay/remote/watch/ct"
)

// overdue is how long a renewal may be late before that counts as wrong.
const overdue = 48 * time.Hour

// name looks at one name. cas are as of allNames.
func (d *doctor) name(ctx context.Context, n *patient, relays []*report, cas []string) (all []cli.Finding) {
	domain := n.domain()
	if n.err != nil {
		return []cli.Finding{cli.Amiss("name", domain, n.err)}
	}
	if n.outlook.Domain == "" {
		return []cli.Finding{cli.NotRun("name", domain, "it is not known before there is a key: the first start makes one")}
	}
	if n.name.port != 0 {
		return []cli.Finding{d.port(n, relays)}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout+5*time.Second)
	defer cancel()
	var hosts []string
	own := true // a domain of the owner's, and not below a relay
	for _, r := range relays {
		hosts = append(hosts, r.host())
		own = own && !hostname.IsBelow(domain, r.host())
	}
	if len(relays) == 0 {
		return []cli.Finding{cli.NotRun("name", domain, "%d relays at most are looked at, and its own is none of them", maxReports)}
	}
	cert, leaf := d.certificate(n)
	var recs *records
	var recErr error
	if own {
		recs, recErr = d.senses.records(ctx, domain, hosts)
	}
	caa := cli.NotRun("caa", domain, "no certificate is ordered")
	switch {
	case orders(n.service) && own:
		caa = ownCAA(domain, hosts[0], cas, recs, recErr)
	case orders(n.service):
		caa = d.caa(ctx, domain, hosts[0], cas)
	}
	return []cli.Finding{
		d.nameDNS(ctx, domain, relays, own, recs, recErr),
		d.rehearsal(ctx, n, relays, leaf),
		cert,
		caa,
		d.transparency(ctx, n, leaf),
	}
}

// port looks whether the relay of a TCP port gives out any.
func (d *doctor) port(n *patient, relays []*report) cli.Finding {
	const step = "tcp_port"
	switch {
	case len(relays) == 0:
		return cli.NotRun(step, n.domain(), "%d relays at most are looked at, and its own is none of them", maxReports)
	case relays[0].about.Keystay == 0:
		return cli.NotRun(step, n.domain(), "what the relay gives out is not known")
	case relays[0].about.TCPPorts == "":
		return cli.Amiss(step, n.domain(), hint.NoTCPPorts.Error(errors.New("this relay gives out no TCP ports")))
	}
	return cli.Fine(step, n.domain(), "the relay gives out %s, and sees the bytes of this one: only a protocol that encrypts by itself is private", relays[0].about.TCPPorts)
}

// nameDNS looks where DNS leads visitors.
func (d *doctor) nameDNS(ctx context.Context, domain string, relays []*report, own bool, recs *records, recErr error) cli.Finding {
	if own {
		switch {
		case errors.Is(recErr, remote.ErrNoIdentity):
			return cli.NotRun("name_dns", domain, "what DNS has to say is not known before there is a key: the first start makes one")
		case recErr != nil:
			return cli.Amiss("name_dns", domain, recErr)
		}
		if err := recs.missing(); err != nil && !(recs.Proven && recs.Reached) {
			return cli.Amiss("name_dns", domain, err)
		}
		return cli.Fine("name_dns", domain, "it names this device, and leads to %s", strings.Join(recs.Relays, " and "))
	}
	has, err := d.senses.lookup(ctx, domain)
	if err != nil {
		return cli.Amiss("name_dns", domain, hint.DoctorNameElsewhere.Error(d.lookupError(domain, err), "ZONE", relays[0].host()))
	}
	var all []netip.Addr
	for _, r := range relays {
		all = append(all, r.at...)
		ips, err := d.senses.lookup(ctx, r.host())
		if err != nil {
			return cli.NotRun("name_dns", domain, "it leads to %s; what the relay's addresses are is not known: %v", addressList(has), d.lookupError(r.host(), err))
		}
		all = append(all, ips...)
	}
	if !slices.ContainsFunc(has, func(a netip.Addr) bool { return slices.Contains(all, a) }) {
		err := fmt.Errorf("%s leads to %s, and none of it is an address of %s", domain, addressList(has), relays[0].host())
		return cli.Amiss("name_dns", domain, hint.DoctorNameElsewhere.Error(err, "ZONE", relays[0].host()))
	}
	return cli.Fine("name_dns", domain, "it leads to %s", addressList(has))
}

// rehearsal looks whether each address of the name leads to this device: it shows a key
// of this device's.
func (d *doctor) rehearsal(ctx context.Context, n *patient, relays []*report, leaf [sha256.Size]byte) cli.Finding {
	const step = "rehearsal"
	domain := n.outlook.Domain
	if isPassed(n.service) {
		return cli.NotRun(step, domain, "visitors' TLS ends at the local service, whose key this program does not know")
	}
	port := 443
	for _, r := range relays {
		if r.link.PublicPort > 0 {
			port = r.link.PublicPort
		}
	}
	answers, err := d.senses.visit(ctx, domain, port)
	if err != nil {
		return cli.NotRun(step, domain, "%v", err)
	}
	keys := acme.OpenKeys(remote.ACMEDir(d.cfg.StateDir))
	var foreign, failed, unrouted []string
	away := 0
	for _, a := range answers {
		switch {
		case a.Unrouted:
			unrouted = append(unrouted, a.Address.Addr().String())
		case a.Away:
			away++
			failed = append(failed, a.Address.String()+" "+a.Why)
		case a.Leaf == nil:
			failed = append(failed, a.Address.String()+" "+a.Why)
		default:
			key := statement.KeyOf(a.Leaf)
			if _, known, err := keys.Find(key); err != nil {
				return cli.Amiss(step, domain, err)
			} else if !known && key != leaf {
				foreign = append(foreign, fmt.Sprintf("%s shows the key sha256:%s, which is not this device's", a.Address, hex.EncodeToString(key[:])))
			}
		}
	}
	pid := d.senses.running(domain)
	switch {
	case len(foreign) > 0:
		return cli.Amiss(step, domain, hint.ForeignKey.Error(errors.New(strings.Join(append(foreign, failed...), "; "))))
	case len(unrouted) == len(answers), away > 0 && away+len(unrouted) == len(answers):
		return cli.NotRun(step, domain, "this device cannot reach the name's public address: %s", strings.Join(append(failed, unrouted...), "; "))
	case len(failed) > 0 && pid == 0:
		return cli.NotRun(step, domain, "no remote serves the name from here now: %s", strings.Join(failed, "; "))
	case len(failed) > 0:
		return cli.Amiss(step, domain, hint.DoctorNoVisitors.Error(errors.New(strings.Join(failed, "; ")), "NAME", domain))
	case len(unrouted) > 0:
		return cli.Fine(step, domain, "each address that can be reached from here shows this device's key; to %s this machine has no way", strings.Join(unrouted, ", "))
	}
	return cli.Fine(step, domain, "each of its %d addresses shows this device's key", len(answers))
}

// certificate looks at the certificate of the name, and returns the key of it.
func (d *doctor) certificate(n *patient) (f cli.Finding, key [sha256.Size]byte) {
	const step = "certificate"
	domain := n.outlook.Domain
	switch {
	case isPassed(n.service):
		return cli.NotRun(step, domain, "it is the local service's own"), key
	case n.service.Cert != "":
		files, err := acme.LoadFiles(n.service.Cert, n.service.Key, "")
		if err != nil {
			return cli.Amiss(step, domain, err), key
		}
		cert, _ := files.GetCertificate(nil)
		key = statement.KeyOf(cert.Leaf)
		if doubts := doubts(files, []string{domain}, d.device.RelayRoots); len(doubts) > 0 {
			return cli.Amiss(step, domain, fmt.Errorf("%s: %w", doubts[0].message, doubts[0].err)), key
		}
		return cli.Fine(step, domain, "until %s, from %s", cert.Leaf.NotAfter.UTC().Format(time.DateOnly), n.service.Cert), key
	}
	cfg := d.device.ACME
	cfg.Dir = remote.ACMEDir(d.cfg.StateDir)
	s, err := acme.LookUp(cfg, domain)
	now := d.senses.now()
	switch {
	case errors.Is(err, acme.ErrNoCertificate) && !errors.As(err, new(*acme.FileError)):
		return cli.NotRun(step, domain, "there is none yet: the first start orders one"), key
	case err != nil:
		return cli.Amiss(step, domain, err), key
	}
	key = statement.KeyOf(s.Leaf)
	if now.After(s.Leaf.NotAfter) || now.After(s.Due.Add(overdue)) {
		return cli.Amiss(step, domain, hint.DoctorRenewal.Error(fmt.Errorf("it is due for renewal since %s: %s", s.Due.UTC().Format(time.DateOnly), s.Why))), key
	}
	return cli.Fine(step, domain, "until %s, by %s; renewed from %s on", s.Leaf.NotAfter.UTC().Format(time.DateOnly), s.Leaf.Issuer, s.Due.UTC().Format(time.DateOnly)), key
}

// transparency looks in certificate transparency, as the watch does.
func (d *doctor) transparency(ctx context.Context, n *patient, key [sha256.Size]byte) cli.Finding {
	const step = "ct"
	domain := n.outlook.Domain
	if isPassed(n.service) {
		return cli.NotRun(step, domain, "the keys of the local service are not known here")
	}
	name := ct.Name{Domain: domain, Brought: n.service.Cert != ""}
	if name.Brought {
		if files, err := acme.LoadFiles(n.service.Cert, n.service.Key, ""); err == nil {
			cert, _ := files.GetCertificate(nil)
			name.Certificate = cert.Leaf
		}
	}
	if watched, why := isCTWatchedFor(d.cfg, name); !watched {
		return cli.NotRun(step, domain, "it is not watched: %s", why)
	}
	s, err := d.senses.ct(ctx, name)
	var foreign []string
	old, own := 0, slices.Contains(s.Seen, hex.EncodeToString(key[:]))
	for _, f := range s.Foreign {
		switch {
		case f.Key == hex.EncodeToString(key[:]): // no remote has run since there is a record of keys
			own = true
		case f.Old:
			old++
		default:
			foreign = append(foreign, "sha256:"+f.Key+" (issuance "+f.ID+")")
		}
	}
	keys := filepath.Join(remote.ACMEDir(d.cfg.StateDir), "keys")
	switch {
	case len(foreign) > 0:
		return cli.Amiss(step, domain, hint.CTForeign.Error(fmt.Errorf("%s has certificates with keys that are not this device's: %s", monitor(d.cfg), strings.Join(foreign, ", ")), "FILE", keys))
	case !s.Blind.IsZero():
		return cli.Amiss(step, domain, hint.CTBlind.Error(fmt.Errorf("the watch does not work since %s: %s does not show this device's own certificate", s.Blind.UTC().Format(time.DateOnly), monitor(d.cfg)), "NAME", domain))
	case ct.IsLimit(err):
		return cli.NotRun(step, domain, "%v", err)
	case err != nil:
		return cli.Amiss(step, domain, hint.CTBlind.Error(err, "NAME", domain))
	case key == [sha256.Size]byte{}:
		return cli.NotRun(step, domain, "there is no certificate yet whose key could be looked for")
	case !own:
		return cli.NotRun(step, domain, "%s does not show this device's own certificate yet, which may take a day", monitor(d.cfg))
	case old > 0:
		f := cli.Fine(step, domain, "%s shows this device's certificate, and %d from before this device kept its keys, whose keys it does not know", monitor(d.cfg), old)
		f.Hints = hint.CTOld.With("FILE", keys)
		return f
	}
	return cli.Fine(step, domain, "%s shows this device's certificate, and none with another key", monitor(d.cfg))
}

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/proxydial"
	"keystay/remote"
)

// relay looks at one relay. The link is first: it may show which of several candidates
// is the relay.
func (d *doctor) relay(ctx context.Context, r *report) {
	linking, cancel := context.WithTimeout(ctx, linkTimeout)
	r.link, r.linkErr = d.senses.link(linking, r.route)
	cancel()
	if r.linkErr == nil {
		r.relay = r.link.Relay
	}
	target := net.JoinHostPort(r.host(), r.port())
	proxy, err := d.senses.proxy(target)
	var page, families []cli.Finding
	var dns cli.Finding
	var wg sync.WaitGroup
	wg.Go(func() { page = d.page(ctx, r) })
	if proxy == nil && err == nil {
		dns = d.lookUpRelay(ctx, r)
		families = d.families(ctx, r)
	}
	wg.Wait()
	r.findings = append(r.findings, d.proxied(r, proxy, err))
	if proxy != nil || err != nil {
		const why = "the proxy looks names up, and dials"
		dns = cli.NotRun("relay_dns", r.host(), why)
		families = []cli.Finding{cli.NotRun("ipv4", r.host(), why), cli.NotRun("ipv6", r.host(), why), cli.NotRun("round_trip", r.host(), why)}
	}
	r.findings = append(r.findings, dns)
	r.findings = append(r.findings, families...)
	r.findings = append(r.findings, page...)
	r.findings = append(r.findings, d.linked(r)...)
}

// proxied says through which proxy the relay is reached.
func (d *doctor) proxied(r *report, proxy *url.URL, err error) cli.Finding {
	switch {
	case err != nil:
		return cli.Amiss("proxy", r.host(), err)
	case proxy == nil:
		return cli.NotRun("proxy", r.host(), "none is set")
	case r.linkErr != nil && r.page == nil:
		return cli.Amiss("proxy", r.host(), fmt.Errorf("nothing gets through %s to %s", proxydial.Named(proxy), r.relay))
	}
	return cli.Fine("proxy", r.host(), "%s", proxydial.Named(proxy))
}

// lookUpRelay asks for the relay's addresses, or for those of what is dialled instead.
func (d *doctor) lookUpRelay(ctx context.Context, r *report) cli.Finding {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	hosts := []string{r.host()}
	if len(r.route.Addresses) > 0 {
		hosts = nil
		for _, a := range r.route.Addresses {
			h, _ := relayAddress(a)
			hosts = append(hosts, h)
		}
	}
	for _, host := range hosts {
		if ip, err := netip.ParseAddr(host); err == nil {
			r.at = append(r.at, ip.Unmap())
			continue
		}
		ips, err := d.senses.lookup(ctx, host)
		if err != nil {
			wrong := d.lookupError(host, err)
			if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
				wrong = hint.RelayHasNoAddress.Error(wrong, "RELAY", host)
			}
			return cli.Amiss("relay_dns", r.host(), wrong)
		}
		r.at = append(r.at, ips...)
	}
	return cli.Fine("relay_dns", r.host(), "%s", addressList(r.at))
}

// lookupError is why a name was not looked up. It says itself which server was asked:
// Go's resolver does not know it where the program has chosen the server.
func (d *doctor) lookupError(host string, err error) error {
	dns, ok := errors.AsType[*net.DNSError](err)
	if !ok {
		return err
	}
	of := "the system's DNS server"
	if d.cfg.DNS != "" {
		of = d.cfg.DNS
	}
	if dns.IsNotFound {
		return fmt.Errorf("%s has no address, says %s", host, of)
	}
	return fmt.Errorf("%s was not looked up: %s says nothing: %s", host, of, dns.Err)
}

func addressList(all []netip.Addr) string {
	var list []string
	for _, a := range all {
		list = append(list, a.String())
	}
	return strings.Join(list, ", ")
}

// families dials each address of the relay: whether it can be reached from here, by which
// family, and in which time.
func (d *doctor) families(ctx context.Context, r *report) []cli.Finding {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	port := r.port()
	if len(r.route.Addresses) > 0 {
		_, port = relayAddress(r.route.Addresses[0])
	}
	errs, took := make([]error, len(r.at)), make([]time.Duration, len(r.at))
	var wg sync.WaitGroup
	for i, a := range r.at {
		wg.Go(func() {
			began := time.Now()
			c, err := d.senses.dial(ctx, net.JoinHostPort(a.String(), port))
			if took[i], errs[i] = time.Since(began), err; err == nil {
				c.Close()
			}
		})
	}
	wg.Wait()
	four := d.family(r, "ipv4", port, errs, func(a netip.Addr) bool { return a.Is4() })
	six := d.family(r, "ipv6", port, errs, func(a netip.Addr) bool { return !a.Is4() })
	best := time.Duration(-1)
	for i, err := range errs {
		if err == nil && (best < 0 || took[i] < best) {
			best = took[i]
		}
	}
	trip := cli.NotRun("round_trip", r.host(), "no address takes a connection")
	if best >= 0 {
		trip = cli.Fine("round_trip", r.host(), "%s to %s", shownTime(best), net.JoinHostPort(r.host(), port))
	}
	return []cli.Finding{four, six, trip}
}

// family says which addresses of a family take connections at the port.
func (d *doctor) family(r *report, step, port string, errs []error, is func(netip.Addr) bool) cli.Finding {
	var up, down []string
	unrouted := 0
	for i, a := range r.at {
		switch {
		case !is(a):
		case errs[i] == nil:
			up = append(up, net.JoinHostPort(a.String(), port))
		case errors.Is(errs[i], syscall.ENETUNREACH), errors.Is(errs[i], syscall.EADDRNOTAVAIL), errors.Is(errs[i], syscall.EAFNOSUPPORT):
			unrouted++
		default:
			down = append(down, net.JoinHostPort(a.String(), port)+" takes no connection: "+errs[i].Error())
		}
	}
	switch {
	case len(r.at) == 0:
		return cli.NotRun(step, r.host(), "no address of the relay is known")
	case len(down) > 0:
		return cli.Amiss(step, r.host(), hint.DoctorFamily.Error(errors.New(strings.Join(down, "; ")), "HOST:PORT", net.JoinHostPort(r.host(), port)))
	case len(up) > 0:
		return cli.Fine(step, r.host(), "%s takes connections", strings.Join(up, ", "))
	case unrouted > 0:
		return cli.NotRun(step, r.host(), "this machine has no way to such addresses")
	}
	return cli.NotRun(step, r.host(), "the relay has no such address")
}

// page looks at the relay's certificate and at what it says of itself.
func (d *doctor) page(ctx context.Context, r *report) []cli.Finding {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	instead := ""
	if len(r.route.Addresses) > 0 {
		instead = r.route.Addresses[0]
	}
	var err error
	r.page, err = d.senses.fetch(ctx, "https://"+net.JoinHostPort(r.host(), r.port())+"/.well-known/keystay.json", instead, d.device.RelayRoots)
	if err != nil {
		cert := cli.Amiss("relay_certificate", r.host(), fmt.Errorf("the relay does not answer over HTTPS: %w", err))
		if r.linkErr != nil { // which says why
			cert = cli.NotRun("relay_certificate", r.host(), "the relay was not reached")
		}
		return []cli.Finding{cert, cli.NotRun("relay_policy", r.host(), "the relay was not reached")}
	}
	cert := cli.Fine("relay_certificate", r.host(), "until %s, by %s", r.page.leaf.NotAfter.UTC().Format(time.DateOnly), r.page.leaf.Issuer)
	if r.page.invalid != nil {
		cert = cli.Amiss("relay_certificate", r.host(), &remote.NoRelayError{Relay: r.relay, Err: &tls.CertificateVerificationError{Err: r.page.invalid}}) // which has the advice of the start
	}
	if err := json.Unmarshal(r.page.body, &r.about); r.page.status != http.StatusOK || err != nil || r.about.Keystay == 0 {
		r.about = aboutRelay{}
		return []cli.Finding{cert, cli.Amiss("relay_policy", r.host(), hint.NotRelay.Error(fmt.Errorf("it says nothing of a keystay relay: HTTP %d", r.page.status)))}
	}
	return []cli.Finding{cert, cli.Fine("relay_policy", r.host(), "names %s, keystay %s", r.about.Policy, r.about.Version)}
}

// linked says what came of the link, and which limits of the relay are near.
func (d *doctor) linked(r *report) []cli.Finding {
	if r.linkErr != nil {
		err := listenError(d.cfg, finalError(r.linkErr, d.cfg.Token != ""))
		const why = "there is no link"
		return []cli.Finding{cli.Amiss("link", r.host(), err), cli.NotRun("packets", r.host(), why), cli.NotRun("limits", r.host(), why)}
	}
	whose := "with this device's key"
	if !r.link.Own {
		whose = "with a key made for this once, since there is none yet"
	}
	link := cli.Fine("link", r.relay, "up in %s over %s, %s; nothing was claimed", shownTime(r.link.Took), r.link.Transport, whose)
	packets := cli.Fine("packets", r.host(), "a first message of the usual size gets through")
	if r.link.Small {
		packets = cli.Amiss("packets", r.host(), hint.SmallHello.Error(errors.New("only a small first message gets through")))
	}
	all := []cli.Finding{link, packets}
	if len(r.link.Nodes) > 0 {
		all = append(all, d.nodes(r))
	}
	return append(all, d.limits(r))
}

// nodes says which machines of the relay can be reached from here.
func (d *doctor) nodes(r *report) cli.Finding {
	var up, down []string
	for _, n := range r.link.Nodes {
		shown := n.Name
		if n.RTT > 0 {
			shown += " " + shownTime(n.RTT)
		}
		switch {
		case n.Err != nil:
			down = append(down, fmt.Sprintf("node %s is not reached at its own address: %v", n.Name, n.Err))
		case !n.Takes:
			up = append(up, shown+", which takes no new links")
		case n.Own:
			up = append(up, shown+", where this link is")
		default:
			up = append(up, shown)
		}
	}
	if len(down) > 0 {
		return cli.Amiss("nodes", r.host(), hint.DoctorNodes.Error(errors.New(strings.Join(down, "; "))))
	}
	return cli.Fine("nodes", r.host(), "%s", strings.Join(up, "; "))
}

// limits says which limits of the relay the names run into.
func (d *doctor) limits(r *report) cli.Finding {
	if n := len(r.names); n > r.link.Names {
		return cli.Amiss("limits", r.host(), hint.DoctorManyNames.Error(fmt.Errorf("%d names are wanted, and one link holds %d", n, r.link.Names)))
	}
	if (r.about.Policy == "token" || r.about.Policy == "closed") && d.cfg.Token == "" {
		for _, n := range r.names {
			if n.name.domain == "" || d.wasServed(n.name.domain) || !hostname.IsBelow(n.name.domain, r.host()) {
				continue
			}
			err := fmt.Errorf("the relay gives new names only by policy %q, and there is no token for %s", r.about.Policy, n.name.domain)
			return cli.Amiss("limits", r.host(), hint.DoctorPolicy.Error(err, "RELAY", r.relay))
		}
	}
	return cli.Fine("limits", r.host(), "%d of %d names of a link", len(r.names), r.link.Names)
}

// wasServed reports whether a name was served from the state directory before.
func (d *doctor) wasServed(domain string) bool {
	info, err := remote.PeekIdentity(d.cfg.StateDir)
	return err == nil && slices.ContainsFunc(info.Names, func(n remote.ServedName) bool { return n.Name == domain })
}

// shownTime is a time as people read it.
func shownTime(d time.Duration) string {
	if d < time.Millisecond {
		return "under 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

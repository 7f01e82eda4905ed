package main

import (
	"context"
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

	"keystay/internal/hint"
	"keystay/remote"
)

// maxReports is how many relays are looked at.
const maxReports = 8

// A report is what was found out about one relay.
type report struct {
	route    remote.Route
	names    []*patient // that want it
	relay    string     // the candidate that answered, or the first
	at       []netip.Addr
	page     *fetched // nil where it was not reached
	about    aboutRelay
	link     remote.TriedLink
	linkErr  error
	findings []finding
}

// aboutRelay is what a relay says of itself at /.well-known/keystay.json.
type aboutRelay struct {
	Keystay       int    `json:"keystay"`
	Domain        string `json:"domain"`
	PublicPort    int    `json:"public_port"`
	Policy        string `json:"policy"`
	Version       string `json:"version"`
	CustomDomains bool   `json:"custom_domains"`
}

// host is the relay's name, and port its port.
func (r *report) host() string { h, _ := relayAddress(r.relay); return h }
func (r *report) port() string { _, p := relayAddress(r.relay); return p }

// relayAddress splits host[:port].
func relayAddress(relay string) (host, port string) {
	if h, p, err := net.SplitHostPort(relay); err == nil {
		return h, p
	}
	return relay, "443"
}

// reports returns a report to fill for each relay that the names want.
func (d *doctor) reports(names []*patient) (all []*report) {
	for _, n := range names {
		for _, to := range n.outlook.Routes {
			i := slices.IndexFunc(all, func(r *report) bool {
				return slices.Equal(r.route.Candidates, to.Candidates) && slices.Equal(r.route.Addresses, to.Addresses)
			})
			if i < 0 && len(all) < maxReports {
				i = len(all)
				all = append(all, &report{route: to, relay: to.Candidates[0]})
			}
			if i >= 0 {
				all[i].names = append(all[i].names, n)
			}
		}
	}
	return all
}

// reportsOf returns those of the relays that a name wants.
func reportsOf(n *patient, reports []*report) (of []*report) {
	for _, r := range reports {
		if slices.Contains(r.names, n) {
			of = append(of, r)
		}
	}
	return of
}

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
	var page, families []finding
	var dns finding
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
		dns = notRun("relay_dns", r.host(), why)
		families = []finding{notRun("ipv4", r.host(), why), notRun("ipv6", r.host(), why), notRun("round_trip", r.host(), why)}
	}
	r.findings = append(r.findings, dns)
	r.findings = append(r.findings, families...)
	r.findings = append(r.findings, page...)
	r.findings = append(r.findings, d.linked(r)...)
}

// proxied says through which proxy the relay is reached.
func (d *doctor) proxied(r *report, proxy *url.URL, err error) finding {
	switch {
	case err != nil:
		return isWrong("proxy", r.host(), err)
	case proxy == nil:
		return notRun("proxy", r.host(), "none is set")
	case r.linkErr != nil && r.page == nil:
		return isWrong("proxy", r.host(), fmt.Errorf("nothing gets through %s://%s to %s", proxy.Scheme, proxy.Host, r.relay))
	}
	return isOK("proxy", r.host(), "%s://%s", proxy.Scheme, proxy.Host)
}

// lookUpRelay asks for the relay's addresses, or for those of what is dialled instead.
func (d *doctor) lookUpRelay(ctx context.Context, r *report) finding {
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
			return isWrong("relay_dns", r.host(), wrong)
		}
		r.at = append(r.at, ips...)
	}
	return isOK("relay_dns", r.host(), "%s", addressList(r.at))
}

// lookupError is why a name was not looked up. Which server was asked Go's resolver does
// not know where the program has chosen it.
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

// families dials each address of the relay: what goes out from here, by which family, and
// how far it is.
func (d *doctor) families(ctx context.Context, r *report) []finding {
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
	trip := notRun("round_trip", r.host(), "no address takes a connection")
	if best >= 0 {
		trip = isOK("round_trip", r.host(), "%s to %s", shownTime(best), net.JoinHostPort(r.host(), port))
	}
	return []finding{four, six, trip}
}

// family says which addresses of a family take connections at the port.
func (d *doctor) family(r *report, step, port string, errs []error, is func(netip.Addr) bool) finding {
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
		return notRun(step, r.host(), "no address of the relay is known")
	case len(down) > 0:
		return isWrong(step, r.host(), hint.DoctorFamily.Error(errors.New(strings.Join(down, "; ")), "HOST:PORT", net.JoinHostPort(r.host(), port)))
	case len(up) > 0:
		return isOK(step, r.host(), "%s takes connections", strings.Join(up, ", "))
	case unrouted > 0:
		return notRun(step, r.host(), "this machine has no way to such addresses")
	}
	return notRun(step, r.host(), "the relay has no such address")
}

// page looks at the relay's certificate and at what it says of itself.
func (d *doctor) page(ctx context.Context, r *report) []finding {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	instead := ""
	if len(r.route.Addresses) > 0 {
		instead = r.route.Addresses[0]
	}
	var err error
	r.page, err = d.senses.fetch(ctx, "https://"+net.JoinHostPort(r.host(), r.port())+"/.well-known/keystay.json", instead, d.device.RelayRoots)
	if err != nil {
		cert := isWrong("relay_certificate", r.host(), fmt.Errorf("the relay does not answer over HTTPS: %w", err))
		if r.linkErr != nil { // which says why
			cert = notRun("relay_certificate", r.host(), "the relay was not reached")
		}
		return []finding{cert, notRun("relay_policy", r.host(), "the relay was not reached")}
	}
	cert := isOK("relay_certificate", r.host(), "until %s, by %s", r.page.leaf.NotAfter.UTC().Format(time.DateOnly), r.page.leaf.Issuer)
	if r.page.invalid != nil {
		cert = isWrong("relay_certificate", r.host(), hint.UntrustedRelay.Error(r.page.invalid))
	}
	if err := json.Unmarshal(r.page.body, &r.about); r.page.status != http.StatusOK || err != nil || r.about.Keystay == 0 {
		r.about = aboutRelay{}
		return []finding{cert, isWrong("relay_policy", r.host(), hint.NotRelay.Error(fmt.Errorf("it says nothing of a keystay relay: HTTP %d", r.page.status)))}
	}
	return []finding{cert, isOK("relay_policy", r.host(), "names %s, keystay %s", r.about.Policy, r.about.Version)}
}

// linked says what came of the link, and which limits of the relay are near.
func (d *doctor) linked(r *report) []finding {
	if r.linkErr != nil {
		err := listenError(d.cfg, finalError(r.linkErr, d.cfg.Token != ""))
		const why = "there is no link"
		return []finding{isWrong("link", r.host(), err), notRun("packets", r.host(), why), notRun("limits", r.host(), why)}
	}
	whose := "with this device's key"
	if !r.link.Own {
		whose = "with a key made for this once, since there is none yet"
	}
	link := isOK("link", r.relay, "up in %s over %s, %s; nothing was claimed", shownTime(r.link.Took), r.link.Transport, whose)
	packets := isOK("packets", r.host(), "a first message of the usual size gets through")
	if r.link.Small {
		packets = isWrong("packets", r.host(), hint.SmallHello.Error(errors.New("only a small first message gets through")))
	}
	return []finding{link, packets, d.limits(r)}
}

// limits says which limits of the relay the names run into.
func (d *doctor) limits(r *report) finding {
	if n := len(r.names); n > r.link.Names {
		return isWrong("limits", r.host(), hint.DoctorManyNames.Error(fmt.Errorf("%d names are wanted, and one link holds %d", n, r.link.Names)))
	}
	if (r.about.Policy == "token" || r.about.Policy == "closed") && d.cfg.Token == "" {
		for _, n := range r.names {
			if n.name.domain == "" || d.wasServed(n.name.domain) || !isBelow(n.name.domain, r.host()) {
				continue
			}
			err := fmt.Errorf("the relay gives new names only by policy %q, and there is no token for %s", r.about.Policy, n.name.domain)
			return isWrong("limits", r.host(), hint.DoctorPolicy.Error(err, "RELAY", r.relay))
		}
	}
	return isOK("limits", r.host(), "%d of %d names of a link", len(r.names), r.link.Names)
}

// wasServed reports whether a name was served from the state directory before.
func (d *doctor) wasServed(domain string) bool {
	info, err := remote.PeekIdentity(d.cfg.StateDir)
	return err == nil && slices.ContainsFunc(info.Names, func(n remote.ServedName) bool { return n.Name == domain })
}

func isBelow(name, zone string) bool { return strings.HasSuffix(name, "."+zone) }

// shownTime is a time as people read it.
func shownTime(d time.Duration) string {
	if d < time.Millisecond {
		return "under 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

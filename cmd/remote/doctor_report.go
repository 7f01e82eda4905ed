package main

import (
	"net"
	"net/netip"
	"slices"

	"keystay/internal/cli"
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
	findings []cli.Finding
}

// aboutRelay is what a relay says of itself at /.well-known/keystay.json.
type aboutRelay struct {
	Keystay       int    `json:"keystay"`
	Domain        string `json:"domain"`
	PublicPort    int    `json:"public_port"`
	Policy        string `json:"policy"`
	Version       string `json:"version"`
	CustomDomains bool   `json:"custom_domains"`
	TCPPorts      string `json:"tcp_ports"`
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

package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// PortRange are TCP ports, both ends included; the zero value is none.
type PortRange struct{ First, Last uint16 }

// minTCPPort is the least port that can be given out: what is below is for services of
// the system.
const minTCPPort = 1024

// tcpPortsForm is how a range is written, for hints.
const tcpPortsForm = `as in tcp_ports: "20000-20999"`

// tcpPorts reads the ports that are given out. None may be one that the relay listens on
// for something else.
func (r *relayReader) tcpPorts() {
	const key = "tcp_ports"
	text := r.src.text(key)
	if text == "" {
		return
	}
	from, to, several := strings.Cut(text, "-")
	if !several {
		to = from
	}
	first, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	switch {
	case err != nil || err2 != nil:
		r.errs.add(key, quote(text)+" is no range of ports", tcpPortsForm)
		return
	case first > last:
		r.errs.add(key, quote(text)+" ends before it begins", fmt.Sprintf("did you mean %q?", fmt.Sprintf("%d-%d", last, first)))
		return
	case first < minTCPPort:
		r.errs.add(key, fmt.Sprintf("%s has ports below %d, which are for services of the system", quote(text), minTCPPort), tcpPortsForm)
		return
	}
	r.relay.TCPPorts = PortRange{uint16(first), uint16(last)}
	r.tcpPortsTaken(text)
	if first <= lastEphemeral && last >= firstEphemeral {
		r.warnings = append(r.warnings, Warning{Key: key,
			Message: fmt.Sprintf("Linux gives the ports %d to %d to outgoing connections, and tcp_ports has some of them: one that is in use just then cannot be given out", firstEphemeral, lastEphemeral),
			Hints:   []string{"take ports below " + strconv.Itoa(firstEphemeral), "or keep them from that: sysctl net.ipv4.ip_local_reserved_ports=" + fmt.Sprintf("%d-%d", first, last)}})
	}
}

// The ports of outgoing connections where nothing else is set (ip(7), ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// tcpPortsTaken reports the addresses that the relay listens on for something else, and
// those of servers to which it leads or that it asks, where ports are listened on there:
// a device that has such a port would be taken for the server.
func (r *relayReader) tcpPortsTaken(text string) {
	taken := func(address string) (port string, ok bool) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return "", false
		}
		n, err := strconv.ParseUint(port, 10, 16)
		return port, err == nil && r.relay.TCPPorts.has(uint16(n))
	}
	check := func(key, address string) {
		if port, ok := taken(address); ok {
			r.errs.add("tcp_ports", fmt.Sprintf("%s has port %s, which is the one of %s", quote(text), port, key), "take other ports, or change "+key)
		}
	}
	for i, address := range r.relay.Listen {
		check(fmt.Sprintf("listen[%d]", i), address)
	}
	for i, address := range r.relay.HTTPListen {
		check(fmt.Sprintf("http_listen[%d]", i), address)
	}
	check("admin.listen", r.relay.Admin.Listen)
	server := func(key, address string) {
		port, ok := taken(address)
		isPort := func(listen string) bool {
			host, _, err := net.SplitHostPort(listen)
			return err == nil && isSame(address, net.JoinHostPort(host, port))
		}
		if ok && slices.ContainsFunc(r.relay.Listen, isPort) {
			check(key, address)
		}
	}
	for i, s := range r.relay.Static {
		server(fmt.Sprintf("static[%d].to", i), s.To)
		server(fmt.Sprintf("static[%d].http", i), s.HTTP)
	}
	server("fallback.to", r.relay.Fallback.To)
	server("fallback.http", r.relay.Fallback.HTTP)
	if u, err := url.Parse(r.relay.Names.Webhook.URL); err == nil {
		server("names.webhook.url", u.Host)
	}
}

// has reports whether a port is one of them.
func (p PortRange) has(port uint16) bool { return p.First != 0 && p.First <= port && port <= p.Last }

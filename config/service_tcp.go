package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// tcpForms is what a service behind a public TCP port may be, for hints, in the file
// and as a flag.
const (
	tcpForms    = "as in tcp: 22, or host:22"
	tcpFlagForm = "as in --tcp 22, or --tcp host:22"
)

// tcp reads a service that is behind a public TCP port, and not behind a name.
func (r *serviceReader) tcp(b block, s *Service) {
	for _, key := range []string{"domain", "domains", "name", "names"} {
		if b.has(key) {
			r.errs.add(b.at(key), "a TCP port has no name", "a name leads to a service of its own: services: [{tcp: 22}, {domain: …, local: 3000}]")
		}
	}
	for _, key := range []string{"local", "routes", "alpn"} {
		if b.has(key) {
			r.errs.add(b.at(key), "there is tcp too", "a TCP port and a name are two services: services: [{tcp: 22}, {domain: …, local: 3000}]")
		}
	}
	for _, key := range append([]string{"cert", "key"}, routeWords...) {
		if b.has(key) {
			r.errs.add(b.at(key), "has no effect on a TCP port, whose bytes are passed on as they are", "take it out")
		}
	}
	if len(b.list("tcp")) > 1 {
		r.errs.add(b.at("tcp"), "one is enough", "each TCP port is a service of its own: services: [{tcp: 22}, {tcp: 5432}]")
		return
	}
	text := strings.TrimPrefix(b.text("tcp"), "tcp://")
	l, err := parseRaw(LocalTCP, text)
	if err != nil {
		forms := tcpFlagForm
		if r.inFile() {
			forms = tcpForms
		}
		r.errs.add(b.at("tcp"), err.Error(), forms)
		return
	}
	s.Raw = &l
	_, digits, _ := net.SplitHostPort(l.Address)
	if b.has("tcp_port") {
		digits = b.text("tcp_port")
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		r.errs.add(b.at("tcp_port"), quote(digits)+" is no port", "a number from 1 to 65535; the relay gives that one, or one that ends alike")
		return
	}
	s.Port = uint16(port)
}

// portsApart makes a service of each relay of a TCP port, since each gives one of its
// own.
func portsApart(r *Remote) {
	var all []Service
	for _, s := range r.Services {
		relays, addresses := s.Relays, s.RelayAddresses
		if len(relays) == 0 {
			relays, addresses = r.Relays, r.RelayAddresses
		}
		if s.Port == 0 || len(relays) < 2 {
			all = append(all, s)
			continue
		}
		for i, relay := range relays {
			one := s
			one.Relays, one.RelayAddresses = []string{relay}, nil
			if len(addresses) == len(relays) {
				one.RelayAddresses = addresses[i : i+1]
			}
			all = append(all, one)
		}
	}
	r.Services = all
}

// publicPort takes apart what visitors of a public TCP port connect to, as in
// relay.net:20022 or tcp://relay.net:20022.
func publicPort(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s, "tcp://"))
	if err != nil || !isPort(port) {
		return "", "", false
	}
	host, err = hostName(host)
	return host, port, err == nil
}

// tcpShown is a TCP port for people.
func tcpShown(port uint16) string { return fmt.Sprintf("the TCP port %d", port) }

package main

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"keystay/config"
	"keystay/relay"
	"keystay/relay/names"
)

// tcpSocket is what a socket of a public TCP port is for; its addr is the number.
const tcpSocket = "tcp"

// tcpPorts are the public TCP ports that are given out.
func tcpPorts(cfg *config.Relay) names.Ports {
	return names.Ports{First: cfg.TCPPorts.First, Last: cfg.TCPPorts.Last}
}

// listenPort returns what listens on a public TCP port: at each host of listen, as
// visitors of names come there.
func listenPort(cfg *config.Relay) func(port uint16) ([]net.Listener, error) {
	return func(port uint16) (list []net.Listener, err error) {
		for _, a := range portAddresses(cfg.Listen, port) {
			ln, err := net.Listen(a.network, a.address)
			if err != nil {
				for _, l := range list {
					l.Close()
				}
				return nil, err
			}
			list = append(list, ln)
		}
		return list, nil
	}
}

// A portAddress is where a public TCP port is listened on, as for net.Listen.
type portAddress struct{ network, address string }

// portAddresses returns those of a port, one for each host of listen. Where these are all
// addresses of IPv4 and of IPv6, one for each. A host that is among all addresses has none
// of its own: both together cannot be listened on.
func portAddresses(listen []string, port uint16) (list []portAddress) {
	var hosts []string
	for _, a := range listen {
		if host, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if slices.Contains(hosts, "") { // which is every address
		hosts = []string{""}
	}
	all := func(is4 bool) bool {
		return slices.ContainsFunc(hosts, func(h string) bool {
			ip, err := netip.ParseAddr(h)
			return err == nil && ip.IsUnspecified() && ip.Is4() == is4
		})
	}
	all4, all6 := all(true), all(false)
	for _, h := range hosts {
		network := "tcp"
		ip, err := netip.ParseAddr(h)
		switch {
		case err != nil:
		case !ip.IsUnspecified():
			if all6 || all4 && ip.Unmap().Is4() { // all of IPv6 without all4 are those of IPv4, too
				continue
			}
		case ip.Is4():
			network = "tcp4"
		case all4:
			network = "tcp6"
		}
		list = append(list, portAddress{network, net.JoinHostPort(h, strconv.Itoa(int(port)))})
	}
	return list
}

// portSockets returns the ports among the sockets that the old process has handed over,
// and the others.
func portSockets(handed []socket) (ports []relay.PortListener, others []socket) {
	for _, s := range handed {
		if s.what != tcpSocket {
			others = append(others, s)
			continue
		}
		if n, err := strconv.ParseUint(s.addr, 10, 16); err == nil {
			ports = append(ports, relay.PortListener{Port: uint16(n), Listener: s.ln})
			continue
		}
		s.ln.Close()
	}
	return ports, others
}

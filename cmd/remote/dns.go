package main

import (
	"context"
	"net"
)

// useDNS makes the whole program ask the DNS server at an address, ip:port. An
// empty one leaves it to the system.
func useDNS(address string) {
	if address != "" {
		net.DefaultResolver = resolver(address)
	}
}

// resolver asks the DNS server at an address, ip:port.
func resolver(address string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true, // the system's own does not know the address
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
}

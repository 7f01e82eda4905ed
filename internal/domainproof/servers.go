package domainproof

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/miekg/dns"
)

const (
	// resolvConf is where Unix systems name their DNS servers.
	resolvConf = "/etc/resolv.conf"
	// maxResolvConf is how much of it is looked at, in bytes.
	maxResolvConf = 64 << 10
	// port is that of DNS.
	port = 53
)

// ErrNoServers is wrapped by the error of a look-up on a system whose DNS servers
// are not known: one without /etc/resolv.conf, such as Windows or Android.
var ErrNoServers = errors.New("it is not known which DNS server to ask")

// ParseServer reads the address of a DNS server: an IP address, and perhaps a port
// other than 53.
func ParseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err == nil && a.Port() == 0 {
		err = errors.New("port 0 is none")
	}
	if err != nil {
		return a, fmt.Errorf("%q is no address of a DNS server", s)
	}
	return a, nil
}

// servers are those to ask.
func (r *Resolver) servers() (list []netip.AddrPort, err error) {
	if list = r.Servers; len(list) == 0 {
		if list, err = r.system(); err != nil {
			return nil, err
		}
	}
	return list[:min(len(list), MaxServers)], nil
}

// system reads the servers of the system, each time anew: they change with the
// network.
func (r *Resolver) system() (list []netip.AddrPort, err error) {
	name := r.conf
	if name == "" {
		name = resolvConf
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoServers, err)
	}
	defer f.Close()
	conf, err := dns.ClientConfigFromReader(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoServers, err)
	}
	for _, s := range conf.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			list = append(list, netip.AddrPortFrom(a, port))
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %s names none", ErrNoServers, name)
	}
	return list, nil
}

package remote

import (
	"net"
	"net/netip"
	"os"
	"strings"

	"keystay/internal/hint"
)

// resolvConf is where Unix systems say which DNS server to ask. Without it
// package net asks one on this device, at port 53.
const resolvConf = "/etc/resolv.conf"

// maxResolvConf is how much of it is looked at, in bytes.
const maxResolvConf = 64 << 10

// unresolved says what to do about a name that was not found. File is where the
// DNS servers of this device are named.
func unresolved(err *net.DNSError, file string) []string {
	server, _ := netip.ParseAddrPort(err.Server)
	switch {
	case err.IsNotFound:
		return hint.RelayHasNoAddress.Do
	case server.Addr().IsLoopback() && server.Port() == 53 && !namesServer(file):
		return hint.NoResolver.With("FILE", file)
	}
	return hint.ResolverAway.Do
}

// namesServer reports whether a file like resolv.conf names a DNS server.
func namesServer(file string) bool {
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxResolvConf {
		return err == nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			return true
		}
	}
	return false
}

package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultMetrics is where a remote serves figures that is only told to do so.
const DefaultMetrics = "127.0.0.1:9441"

// metrics checks where figures are served. What names no host is this machine alone.
func (e *Errors) metrics(key string, s *string) {
	given := *s
	switch strings.ToLower(given) {
	case "", "off", "false":
		*s = ""
		return
	case "on", "true":
		*s = DefaultMetrics
		return
	}
	host, port, err := net.SplitHostPort(given)
	if isPort(given) {
		host, port, err = "127.0.0.1", given, nil
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	n, wrong := strconv.ParseUint(port, 10, 16)
	ip, bad := netip.ParseAddr(host)
	switch {
	case err != nil || wrong != nil || bad != nil && host != "":
		e.add(key, quote(given)+" is not on, off, a port or an address with one", "as in --metrics, --metrics=9441 or --metrics=127.0.0.1:9441")
	case host == "":
		e.add(key, quote(given)+" does not say who may reach it", "this machine: --metrics="+port, "everybody: --metrics=[::]:"+port)
	default:
		*s = net.JoinHostPort(ip.String(), strconv.FormatUint(n, 10))
	}
}

package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// defaultMetrics is where a remote serves figures that is only told to do so.
const defaultMetrics = "127.0.0.1:9441"

// defaultInspect is likewise where it serves the inspector: at any port that is free.
const defaultInspect = "127.0.0.1:0"

// metrics checks where figures are served, and makes it an address. A port alone is this
// machine's.
func (e *Errors) metrics(key string, s *string) {
	given := *s
	if isSaidOff(given) {
		*s = ""
		return
	}
	ip, port, ok := servedAt(given, defaultMetrics)
	switch {
	case !ok:
		e.add(key, quote(given)+" is not on, off, a port or an address with one", "as in --metrics, --metrics=9441 or --metrics=127.0.0.1:9441")
	case !ip.IsValid():
		e.add(key, quote(given)+" does not say who may reach it", "this machine: --metrics="+port, "everybody: --metrics=[::]:"+port)
	default:
		*s = net.JoinHostPort(ip.String(), port)
	}
}

// inspect checks where the inspector is served, and makes it an address of this machine.
func (e *Errors) inspect(key string, s *string) {
	given := *s
	if isSaidOff(given) {
		*s = ""
		return
	}
	ip, port, ok := servedAt(given, defaultInspect)
	if ok && !ip.IsValid() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	switch {
	case !ok:
		e.add(key, quote(given)+" is not on, off, a port or a loopback address with one", "as in --inspect, or --inspect=4040")
	case !ip.IsLoopback() || ip.Zone() != "":
		e.add(key, quote(given)+" is no loopback address: others could reach the inspector there", "--inspect=127.0.0.1:"+port, "from elsewhere: ssh -L "+port+":127.0.0.1:"+port+" DEVICE")
	default:
		*s = net.JoinHostPort(ip.String(), port)
	}
}

// isSaidOff reports whether a setting that takes an address says that there is none.
func isSaidOff(given string) bool {
	given = strings.ToLower(given)
	return given == "" || given == "off" || given == "false"
}

// servedAt reads what says where something is served: on, which is the same as usual, a
// port of this machine, or an address with a port. The address is the zero Addr where
// nothing stands before the colon.
func servedAt(given, usual string) (ip netip.Addr, port string, ok bool) {
	switch strings.ToLower(given) {
	case "on", "true":
		given = usual
	}
	if isPort(given) {
		given = net.JoinHostPort("127.0.0.1", given)
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return ip, "", false
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ip, "", false
	}
	port = strconv.FormatUint(n, 10)
	if host == "" {
		return ip, port, true
	}
	ip, err = netip.ParseAddr(host)
	return ip, port, err == nil
}

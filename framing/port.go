package framing

import (
	"strconv"
	"strings"

	"keystay/internal/hostname"
)

// CapabilityPorts is a bit of the Capabilities in Hello and in Welcome: the relay has
// public TCP ports to give, and the remote knows what to do with one (PROTOCOL.md,
// section 3).
const CapabilityPorts = 1 << 2

// portPrefix begins the names by which TCP ports are claimed. No host name has a colon.
const portPrefix = "tcp:"

// PortName is the name by which a public TCP port of a relay is claimed: port is the
// one asked for, 1 to 65535, and relay the relay's own name.
func PortName(port uint16, relay string) string {
	return portPrefix + strconv.Itoa(int(port)) + "@" + relay
}

// ParsePortName is the reverse of PortName. It reports false for every other name, and
// for a port that is spelled in another way than PortName does.
func ParsePortName(name string) (port uint16, relay string, ok bool) {
	rest, ok := strings.CutPrefix(name, portPrefix)
	if !ok {
		return 0, "", false
	}
	digits, relay, ok := strings.Cut(rest, "@")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 || digits != strconv.FormatUint(n, 10) {
		return 0, "", false
	}
	if normal, err := hostname.Normalize([]byte(relay)); err != nil || normal != relay {
		return 0, "", false
	}
	return uint16(n), relay, true
}

// isPortName reports whether a name is one of PortName's.
func isPortName(name string) bool {
	_, _, ok := ParsePortName(name)
	return ok
}

// Ports reports whether both sides have named CapabilityPorts.
func (l *Link) Ports() bool { return l.ports }

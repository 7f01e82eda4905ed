package publish

import (
	"net/netip"
	"strings"

	"keystay/internal/publicaddr"
)

// A front is what stands before a service and tells it who the visitor is. Here
// that is the remote alone, so no visitor may speak with a front's voice.

// unknown is the address of a visitor that must not be told (RFC 7239, section
// 6.2).
const unknown = "unknown"

// visitorAddress is the visitor's address as the service is told it. It is the
// relay's word: one from a place that services trust, such as the device itself
// or its network, is only told where the owner trusts the relay in this, too.
func (t *Target) visitorAddress(remoteAddr string) string {
	a, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return unknown
	}
	ip := a.Addr().Unmap().WithZone("")
	if !t.TrustPrivateAddresses && !publicaddr.Is(ip) {
		return unknown
	}
	return ip.String()
}

// forwarded is the Forwarded header (RFC 7239) for a visitor and a host that
// have been checked.
func forwarded(visitor, host string) string {
	if strings.Contains(visitor, ":") {
		visitor = `"[` + visitor + `]"`
	}
	return "for=" + visitor + `;host="` + host + `";proto=https`
}

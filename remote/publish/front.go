package publish

import (
	"net/http"
	"net/netip"
	"strings"
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
	if !t.TrustPrivateAddresses && !isPublic(ip) {
		return unknown
	}
	return ip.String()
}

// isPublic reports whether a visitor from the internet can have the address.
func isPublic(ip netip.Addr) bool {
	// Not loopback, link-local, multicast, unspecified or broadcast; not RFC
	// 1918 or fc00::/7.
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	if ip.Is4() {
		b := ip.As4()
		return b[0] != 0 && // this network (RFC 791)
			!(b[0] == 100 && b[1]&0xc0 == 64) && // shared, and used by overlay networks (RFC 6598)
			b[0] < 240 // reserved (RFC 1112)
	}
	b := ip.As16()
	return !(b[0] == 0xfe && b[1]&0xc0 == 0xc0) && // site-local (RFC 3879)
		!isZero(b[:12]) && // IPv4-compatible (RFC 4291, section 2.5.5.1)
		!(b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b) // NAT64: an IPv4 address inside (RFC 6052, RFC 8215)
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// forwarded is the Forwarded header (RFC 7239) for a visitor and a host that
// have been checked.
func forwarded(visitor, host string) string {
	if strings.Contains(visitor, ":") {
		visitor = `"[` + visitor + `]"`
	}
	return "for=" + visitor + `;host="` + host + `";proto=https`
}

// dropFrontFields takes out what only a front may say about a visitor.
func dropFrontFields(h http.Header) {
	for name := range h {
		if isFrontField(name) {
			delete(h, name)
		}
	}
}

// longestFrontField bounds what isFrontField looks at: beyond it, only the
// prefixes matter.
const longestFrontField = 48

// isFrontField reports whether a field is one by which a front tells a service
// of the visitor. Services that see fields as CGI variables cannot tell an
// underscore, or another sign, from a dash.
func isFrontField(name string) bool {
	var buf [longestFrontField]byte
	n := min(len(name), len(buf))
	for i := range n {
		c := name[i]
		switch {
		case isAlphanumeric(c):
			buf[i] = c | 0x20 // lower case; digits have the bit
		default:
			buf[i] = '-'
		}
	}
	same := buf[:n]
	switch string(same) {
	case
		// Its address.
		"forwarded", "forwarded-for", "x-forwarded", "x-real-ip", "true-client-ip", "x-true-client-ip",
		"client-ip", "x-client-ip", "x-clientip", "x-client", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "remote-addr", "remote-host",
		"x-originating-ip", "x-proxyuser-ip", "proxy-client-ip", "wl-proxy-client-ip",
		"cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "cf-ipcountry", "cf-visitor",
		"fastly-client-ip", "fastly-ssl", "fastly-client", "fly-client-ip", "fly-forwarded-proto", "do-connecting-ip", "incap-client-ip",
		"x-azure-clientip", "x-azure-socketip", "x-sucuri-clientip", "x-nf-client-connection-ip",
		"ali-cdn-real-ip", "cdn-src-ip", "cdn-real-ip", "x-appengine-user-ip", "x-appengine-remote-addr",
		// Its name.
		"remote-user", "remote-name", "remote-email", "remote-groups", "remote-group", "x-remote-user", "x-remote-name", "x-remote-email", "x-remote-group", "x-remote-groups",
		"x-webauth-user", "x-webauth-name", "x-webauth-email", "x-webauth-groups", "x-webauth-role",
		"x-authenticated-user", "x-authenticated-groups", "x-vouch-user", "x-goog-iap-jwt-assertion",
		"cf-access-jwt-assertion", "cf-access-authenticated-user-email", "x-arr-clientcert",
		"client-cert", "client-cert-chain", "x-client-cert", "x-client-verify", "x-client-dn",
		// What it has asked for.
		"x-rewrite-url", "x-host", "x-http-host-override", "x-scheme", "x-url-scheme", "x-forwardedproto",
		"front-end-https", "x-arr-ssl", "wl-proxy-ssl", "x-script-name", "x-sendfile-type", "x-accel-mapping",
		"proxy": // CGI makes it HTTP_PROXY, and programs send what they fetch there
		return true
	}
	for _, prefix := range []string{
		"x-forwarded-", "x-original-", "x-envoy-", "x-remote-extra-", "x-auth-request-", "x-authentik-", "tailscale-",
		"x-goog-authenticated-user-", "x-ms-client-principal", "x-amzn-oidc-", "x-amzn-mtls-", "ssl-client-", "x-ssl-client-",
	} {
		if strings.HasPrefix(string(same), prefix) {
			return true
		}
	}
	return false
}

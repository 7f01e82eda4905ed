package fields

import (
	"net/http"
	"slices"
	"strings"
)

// DropOfFront takes out of a head, or of trailers, what only a front may say about a visitor.
func DropOfFront(h http.Header) {
	for name := range h {
		if OfFront(name) {
			delete(h, name)
		}
	}
}

// OfFront reports whether a field, in any spelling, is one by which a front tells a
// service of the visitor: where it comes from, who it is, what it has asked for. Services
// that see fields as CGI variables cannot tell an underscore, or another sign, from a
// dash.
func OfFront(name string) bool {
	var buf [64]byte // longer names are rare
	same := append(buf[:0], name...)
	for i, c := range same {
		same[i] = folded(c)
	}
	return isFrontName(string(same))
}

// Same reports whether a service may take two names of fields for one: in any case, and
// with any sign in the place of a dash.
func Same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if folded(a[i]) != folded(b[i]) {
			return false
		}
	}
	return true
}

// WithDashes returns a name with a dash in the place of each sign: see Same.
func WithDashes(name string) string {
	b := []byte(name)
	for i, c := range b {
		if folded(c) == '-' {
			b[i] = '-'
		}
	}
	return string(b)
}

// folded is a byte of a name in lower case, and a dash for a sign.
func folded(c byte) byte {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
		return c | 0x20 // lower case; digits have the bit
	}
	return '-'
}

// isFrontName is OfFront for a name in lower case with dashes. Where a front
// has, or may get, more fields of a kind than one, the kind is listed and not the
// field. What ordinary clients send as well, such as X-Auth-Token, X-User-ID or
// X-Client-Version, is in no kind.
func isFrontName(name string) bool {
	switch name {
	case
		// Its address.
		"forwarded", "x-forward-for", "x-client",
		"x-originating-ip", "cf-pseudo-ipv4", "cf-ipcountry", "cf-visitor", "fastly-client",
		"x-azure-socketip", "cdn-src-ip",
		// Its name.
		"remote-user", "remote-name", "remote-email", "remote-groups", "remote-group",
		"cf-access-jwt-assertion", "cf-access-authenticated-user-email", "x-arr-clientcert",
		"client-cert", "client-cert-chain", "x-client-verify", "x-client-dn",
		"x-jwt-assertion", "x-token-subject", "x-anonymous-consumer", "sm-user", "sm-universalid", "iv-user", "iv-groups", "iv-creds",
		// What it has asked for.
		"x-override-url", "x-request-uri", "x-host", "x-http-host-override", "x-scheme", "x-url-scheme", "x-https", "https", "x-ssl",
		"front-end-https", "fastly-ssl", "x-arr-ssl", "wl-proxy-ssl", "x-script-name", "script-name", "x-path-info", "path-info", "x-base-path", "x-ingress-path", "x-replaced-path", "x-matched-path", "x-now-route-matches", "x-waws-unencoded-url",
		"x-sendfile-type", "x-accel-mapping",
		"proxy": // CGI makes it HTTP_PROXY, and programs send what they fetch there
		return true
	}
	return slices.ContainsFunc(frontPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) ||
		slices.ContainsFunc(frontEndings, func(e string) bool { return strings.HasSuffix(name, e) || name == e[1:] })
}

var frontPrefixes = []string{
	"x-forwarded", "x-original-", "x-rewrite-", "x-vhm-", "x-traversal-", "x-invoke-", "x-real-", "x-envoy-", "x-proxyuser", "x-appengine-", "x-vercel-ip-", "cloudfront-viewer-",
	"x-remote-", "x-webauth-", "x-authenticated-", "x-auth-request-", "x-auth-user", "x-auth-email", "x-auth-group", "x-auth-role",
	"x-authentik-", "x-pomerium-", "x-vouch-", "x-consumer-", "x-credential-", "x-token-user-", "tailscale-", "teleport-",
	"x-goog-iap-", "x-goog-authenticated-user-", "x-ms-client-principal", "x-amzn-oidc-", "x-amzn-mtls-",
	"oidc-", "shib-", "x-shib-", "x-hass-", "x-keystay-", "impersonate-", "ssl-client-", "x-ssl-", "x-client-cert",
}

var frontEndings = []string{
	"-forwarded-for", "-forwarded-host", "-forwarded-proto",
	"-client-ip", "-clientip", "-client-connection-ip", "-connecting-ip", "-connecting-ipv6", "-real-ip", "-source-ip", "-remote-ip", "-remote-addr", "-remote-host",
	"-user-ip", "-visitor-ip", "-viewer-ip", "-peer-ip",
}

package fields_test

import (
	"net/http"
	"strings"
	"testing"

	"keystay/internal/fields"
)

// A field that only a front may say is dropped in every spelling that a service
// could take for it, and what others say is not.
func TestFrontFieldsAreDroppedInEverySpelling(t *testing.T) {
	for _, name := range strings.Fields(`X-Forwarded-For x_forwarded_for X.Forwarded.For X-Forwarded-Whatever X-Forwarded Forwarded X-Real-IP x_real_ip True-Client-IP X-Client-IP
		CF-Connecting-IP Client-IP CLIENT_IP X-Cluster-Client-IP X-Original-Forwarded-For X-Original-URL X-Original-Host X-Rewrite-URL Fastly-Client-IP X-Envoy-External-Address
		X-ProxyUser-Ip WL-Proxy-Client-IP Proxy-Client-IP Remote-User REMOTE_USER X-Remote-User X-WEBAUTH-USER Tailscale-User-Login X-Auth-Request-Email Client-Cert Front-End-Https Proxy
		X-AppEngine-User-Email X-AppEngine-User-IP X-Pomerium-Claim-Email X-Pomerium-Jwt-Assertion X-Auth-User X-Auth-Username X-Auth-Email X-Auth-Groups X-Auth-Roles X-Token-Subject X-Token-User-Name
		X-Forwarded_User X-ForwardedProto X-Vercel-Forwarded-For Z-Forwarded-For X-Akamai-Client-IP Akamai_Client_IP Some-New-CDN-Client-IP CDN-Connecting-IP X-Orig-Forwarded-Host
		A-Name-Of-A-Front-That-Is-Longer-Than-Any-Buffer-Would-Be-For-It-Client-IP CloudFront-Viewer-Address X-Source-IP Impersonate-User Impersonate-Extra-Scopes Shib-Identity X-Shib-User
		X-Hass-User-Id X-Hass-Is-Admin X-Ingress-Path X-HTTPS HTTPS X-SSL-Cert X-SSL X-Real-Proto X-Base-Path X-Replaced-Path X-ProxyUser X-Consumer-Username X-Credential-Identifier
		OIDC_CLAIM_email SM_USER iv-user X-Remote-User-Display-Name X-Forward-For
		Real-IP remote_ip Source-IP Connecting-IP Forwarded-Host Forwarded-Proto Forwarded-For Remote-Addr Remote-Host X-User-IP X-Visitor-IP Peer-IP OIDC_access_token OIDC_id_token
		SCRIPT_NAME script-name Script_Name PATH_INFO X-Path-Info X-Request-URI X-Rewrite-URI X-Override-URL
		X-Vhm-Root X_VHM_ROOT X-VHM-Host X-Traversal-Path X-Invoke-Path x_invoke_query X-Matched-Path X-Now-Route-Matches X-WAWS-Unencoded-URL`) {
		h := http.Header{name: {"forged"}, http.CanonicalHeaderKey(name): {"forged"}}
		fields.DropOfFront(h)
		if len(h) != 0 {
			t.Errorf("%s passes", name)
		}
	}
	for _, name := range strings.Fields(`Cookie Authorization Origin Referer User-Agent Via X-Requested-With X-CSRF-Token X-API-Key X-Request-ID Destination Range ETag Client Remote
		X-Real Forwarded-Message X-Forward X-Proxy Proxying X-Original Traceparent Host-Name X-HTTP-Method-Override Sec-WebSocket-Key CF-Ray
		X-Auth-Token X-Auth-Key X-Auth-Signature X-Auth-Timestamp X-Token X-Access-Token X-User-ID X-Client-Version X-Client-Data X-Client-ID X-Forwarder Client-IP-Version Upgrade-Insecure-Requests
		X-Vercel-Protection-Bypass X-Goog-Api-Key X-Amz-Date X-Amzn-Trace-Id X-Ms-Version X-Ms-Client-Request-Id X-Hassio-Key CF-Access-Client-Id Save-Data Sec-CH-UA X-Real Shibboleth Impersonate
		X-Middleware-Prefetch X-Nextjs-Data Next-Router-State-Tree`) {
		h := http.Header{name: {"value"}}
		fields.DropOfFront(h)
		if len(h) != 1 {
			t.Errorf("%s is dropped", name)
		}
	}
}

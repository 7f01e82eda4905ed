package relay

import (
	"net/http"
	"net/netip"
	"testing"

	"keystay/relay/names"
)

// A remote is told each reason that package names has for a denial.
func TestEachCodeOfADenialIsOneOfTheProtocol(t *testing.T) {
	for code := names.DeniedInvalid; code <= names.DeniedUnproven; code++ {
		if d := denial(&names.Denied{Code: code}); d.Code == 0 {
			t.Errorf("code %d has none in the protocol", code)
		}
	}
}

// Bans and rules hold for a link-local visitor of port 80, too, whose address has a zone.
func TestRequesterHasNoZone(t *testing.T) {
	if got := requester(&http.Request{RemoteAddr: "[fe80::1%eth0]:80"}); got != netip.MustParseAddr("fe80::1") {
		t.Errorf("it comes from %v", got)
	}
}

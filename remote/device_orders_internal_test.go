package remote

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"keystay/internal/testnet"
)

// A relay of the internet has a device dial nothing near it, whatever it says in DNS.
func TestNothingNearIsDialledForARelayThatIsNot(t *testing.T) {
	at := testnet.Serve(t, func(net.Conn) { t.Error("it is dialled") })
	c, err := (&orders{d: new(Device)}).dialPublic(t.Context(), netip.MustParseAddrPort(at.String()))
	if !errors.Is(err, errNear) {
		t.Errorf("got %v, %v", c, err)
	}
	for address, near := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "192.168.1.1": true, "169.254.169.254": true, "0.0.0.0": true, "::1": true, "::ffff:127.0.0.1": true, "fe80::1": true, "fd00::1": true,
		"100.100.100.100": true, "64:ff9b::127.0.0.1": true, "64:ff9b::10.1.2.3": true, "64:ff9b::100.64.0.1": true, "64:ff9b:1::1.1.1.1": true, "2002:c0a8:101::1": true,
		"198.51.100.1": false, "2001:db8::1": false, "64:ff9b::1.1.1.1": false, "2002:101:101::1": false, "100.128.0.1": false,
	} {
		a := netip.MustParseAddr(address)
		if isNear(a) != near || isRelayNear(net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 443))) != near {
			t.Errorf("%s: want %v", address, near)
		}
	}
}

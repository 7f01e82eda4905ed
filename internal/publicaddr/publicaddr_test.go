package publicaddr_test

import (
	"fmt"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/publicaddr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleIs() {
	for _, s := range []string{"8.8.4.4", "192.168.1.10", "::1", "64:ff9b::7f00:1"} {
		fmt.Println(s, publicaddr.Is(netip.MustParseAddr(s)))
	}
	// Output:
	// 8.8.4.4 true
	// 192.168.1.10 false
	// ::1 false
	// 64:ff9b::7f00:1 false
}

// An IPv4 address inside an IPv6 one is no public address, as it is no public one
// by itself, and the zero address is none either.
func TestMappedAndZeroAddressesAreNotPublic(t *testing.T) {
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("::ffff:8.8.4.4"), netip.MustParseAddr("fe80::1%eth0")} {
		if publicaddr.Is(a) {
			t.Errorf("%v is public", a)
		}
	}
}

package limits_test

import (
	"fmt"
	"net/netip"
	"time"

	"keystay/relay/limits"
)

// An address may ask for so many new names a day.
func ExampleAddresses_Allow() {
	var a limits.Addresses
	a.Set(limits.Config{Address: limits.Address{Names: limits.Rate{Count: 1, Per: 24 * time.Hour}}})
	first, _ := a.Allow(limits.NewName, netip.MustParseAddr("192.0.2.1"))
	second, retry := a.Allow(limits.NewName, netip.MustParseAddr("192.0.2.1"))
	fmt.Println(first, second, retry.Round(time.Hour))
	// Output: true false 24h0m0s
}

package domainproof_test

import (
	"fmt"

	"keystay/internal/domainproof"
)

// The records that give a domain to a device, by the label made from its key.
func Example() {
	const label = "a4lv7c5gqsmz4vkjiqsts232p5eloqr6"
	fmt.Println(domainproof.Owner("app.example.com"), "TXT", domainproof.Record(label))
	fmt.Println("app.example.com", "CNAME", domainproof.Target(label, "relay.net"))
	fmt.Println(domainproof.Parse("keystay=" + label))
	// Output:
	// _keystay.app.example.com TXT keystay=a4lv7c5gqsmz4vkjiqsts232p5eloqr6
	// app.example.com CNAME a4lv7c5gqsmz4vkjiqsts232p5eloqr6.relay.net
	// a4lv7c5gqsmz4vkjiqsts232p5eloqr6 true
}

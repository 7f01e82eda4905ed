package hostname_test

import (
	"fmt"

	"keystay/internal/hostname"
)

func ExampleNormalize() {
	fmt.Println(hostname.Normalize([]byte("XYZ.Relay.NET.")))
	fmt.Println(hostname.Normalize([]byte("my_app.relay.net")))
	// Output:
	// xyz.relay.net <nil>
	//  no host name: '_' cannot be in it
}

func ExampleIsBelow() {
	fmt.Println(hostname.IsBelow("xyz.team.relay.net", "relay.net"), hostname.IsBelow("relay.net", "relay.net"), hostname.IsBelow("myrelay.net", "relay.net"))
	// Output: true false false
}

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

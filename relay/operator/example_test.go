package operator_test

import (
	"context"
	"fmt"
	"log"

	"keystay/relay/operator"
)

// A client asks the relay of a state directory who is connected.
func ExampleClient() {
	c := operator.NewClient(operator.SocketPath("/var/lib/keystay"))
	var page operator.Remotes
	if err := c.Get(context.Background(), "/v1/remotes", nil, &page); err != nil {
		log.Fatal(err)
	}
	for _, r := range page.Remotes {
		fmt.Println(r.Identity, r.Names)
	}
}

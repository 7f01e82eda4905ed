package cli_test

import (
	"errors"
	"fmt"
	"os"

	"keystay/internal/cli"
)

// What a command says that looks at many things.
func ExampleFound() {
	found := cli.Found([]cli.Finding{
		cli.Fine("dns", "relay.net", "it leads to %s", "192.0.2.1"),
		cli.Amiss("port", ":443", errors.New("nothing answers")),
	})
	found.Write(os.Stdout)
	fmt.Println(found.OK, found.Wrong())
	// Output:
	// ok  dns relay.net: it leads to 192.0.2.1
	// !!  port :443: nothing answers
	// false 1
}

package names_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"

	"keystay/relay/names"
)

// A name belongs to the key that was first with it.
func Example() {
	dir, err := os.MkdirTemp("", "names")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	grants, err := names.OpenGrants(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer grants.Close()
	n := &names.Names{Rules: names.Rules{Policy: names.Open}, Grants: grants}
	n.Begin("relay.net")

	for _, who := range []byte{1, 1, 2} {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = who
		key := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		_, err := n.Claim(context.Background(), names.Claimant{Name: "xyz.relay.net", Key: key})
		var denied *names.Denied
		switch {
		case errors.As(err, &denied):
			fmt.Printf("device %d: %v\n", who, denied)
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Printf("device %d has it\n", who)
		}
	}
	// Output:
	// device 1 has it
	// device 1 has it
	// device 2: xyz.relay.net is denied: it belongs to another device
}

package keyname_test

import (
	"crypto/ed25519"
	"fmt"

	"keystay/internal/keyname"
)

// The first name of a device, and another one that its owner has a word for.
func ExampleLabel() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	label := keyname.Label(key, "")
	fmt.Println(label, keyname.Is(label))
	fmt.Println(keyname.Label(key, "blog"))
	// Output:
	// cgt4f3rwuby5vev2remb2j7zm7qn2aln true
	// ljyli226ht3u4hmmtdlv5wgfrw7c55hg
}

package ct_test

import (
	"context"
	"log"
	"time"

	"keystay/remote/watch/ct"
)

// A program that knows the keys of its certificates hears of others.
func ExampleWatch() {
	keys := map[[32]byte]time.Time{} // of all certificates that were ever asked for
	w := ct.New(ct.Config{
		Dir:   "/var/lib/example/ct",
		Names: func() []ct.Name { return []ct.Name{{Domain: "app.example.com"}} },
		Known: func(key [32]byte) (time.Time, bool, error) {
			since, known := keys[key]
			return since, known, nil
		},
		Begun: func() (time.Time, error) { return time.Time{}, nil },
		Found: func(f ct.Finding) { log.Printf("%s: a foreign key, %x", f.Name, f.Key) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.Run(ctx)
	// Output:
}

package record_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// The names of a relay on several machines, in etcd. All nodes have the same key.
func ExampleOpen() {
	run := func() error {
		key, err := os.ReadFile("/var/lib/keystay/cluster/record.key")
		if err != nil {
			return err
		}
		r, err := record.Open(record.Config{Endpoints: []string{"http://127.0.0.1:2379"}, Key: key})
		if err != nil {
			return err
		}
		defer r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Ready(ctx); err != nil {
			log.Printf("it is read as soon as etcd answers: %v", err)
		}
		given := names.Names{Grants: r} // for relay.Server
		given.Begin("relay.net")
		r.Nodes().Announced(func(all map[string][]byte) { fmt.Println(len(all), "nodes") })
		r.Audit().Add(time.Now(), []byte(`{"what":"ban"}`))
		return nil
	}
	_ = run
}

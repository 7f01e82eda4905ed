//go:build linux || darwin || freebsd

package handover_test

import (
	"context"
	"log"
	"net"
	"time"

	"keystay/internal/handover"
)

// The old process waits for a new one that takes over.
func ExampleOld() {
	var sockets []handover.Socket // what is listened on, paused
	control, err := handover.Listen("/var/lib/keystay/relay.sock")
	if err != nil {
		log.Fatal(err)
	}
	o, err := control.Accept()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := o.Offer(ctx, sockets, []string{"xyz.relay.net"}); err != nil {
		log.Print("going on: ", err)
	}
}

// The new process takes over.
func ExampleNew() {
	n, err := handover.Dial("/var/lib/keystay/relay.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	sockets, names, err := n.Take()
	if err != nil {
		log.Fatal(err)
	}
	serve := func(ln net.Listener, names []string) { log.Printf("serving %d names on %v", len(names), ln.Addr()) }
	if err := n.Ready(); err != nil {
		log.Fatal(err)
	}
	if err := n.Serving(); err != nil {
		log.Fatal(err)
	}
	for _, s := range sockets {
		go serve(s.Listener, names)
	}
}

//go:build linux || darwin || freebsd

package handover_test

import (
	"context"
	"log"
	"net"
	"time"

	"keystay/internal/handover"
)

// The running process waits for one that takes over.
func ExampleSuccessor() {
	var sockets []handover.Socket // what is listened on, paused
	control, err := handover.Listen("/var/lib/keystay/relay.sock")
	if err != nil {
		log.Fatal(err)
	}
	next, err := control.Accept()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := next.Offer(ctx, sockets, []string{"xyz.relay.net"}); err != nil {
		log.Print("going on: ", err)
	}
}

// The new process takes over.
func ExamplePredecessor() {
	p, err := handover.Dial("/var/lib/keystay/relay.sock")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	sockets, names, err := p.Take()
	if err != nil {
		log.Fatal(err)
	}
	serve := func(ln net.Listener, names []string) { log.Printf("serving %d names on %v", len(names), ln.Addr()) }
	if err := p.Ready(); err != nil {
		log.Fatal(err)
	}
	if err := p.Serving(); err != nil {
		log.Fatal(err)
	}
	for _, s := range sockets {
		go serve(s.Listener, names)
	}
}

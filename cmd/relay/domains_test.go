package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"keystay/config"
	"keystay/relay/names"
)

// A DNS server that does not answer holds the places of one network alone. A domain
// that is checked again takes none, and one that was not asked for says so.
func TestSlowDNSHoldsThePlacesOfOneNetwork(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := &config.Relay{Domain: "relay.test"}
	cfg.Names.Resolvers = []string{silent.LocalAddr().String()}
	d := newDomains(cfg)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	results := make(chan error, 2*maxProofs)
	ask := func(from netip.Addr) {
		wg.Go(func() {
			_, err := d.prove(ctx, names.Claimant{Name: "app.example.test", Source: from})
			results <- err
		})
	}
	for i := range 2 * maxProofs {
		ask(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i), 1}))
	}
	for range 2*maxProofs - proofsPerNetwork {
		if err := <-results; !errors.Is(err, names.ErrNotAsked) {
			t.Fatalf("one network too many: %v", err)
		}
	}
	for _, from := range []netip.Addr{netip.MustParseAddr("198.51.100.1"), {}} {
		short, end := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := d.prove(short, names.Claimant{Name: "other.example.test", Source: from})
		end()
		if err == nil || errors.Is(err, names.ErrNotAsked) {
			t.Errorf("from %v DNS was not asked: %v", from, err)
		}
	}
	stop()
}

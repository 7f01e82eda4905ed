package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"keystay/config"
	"keystay/internal/domainproof"
	"keystay/relay/limits"
	"keystay/relay/names"
)

const (
	// maxProofs is how many custom domains DNS is asked for at once, for claims. Each
	// takes two or three sockets.
	maxProofs = 64
	// proofsPerNetwork is how many of them may be for claims from one network, see
	// limits.Network: whoever claims chooses the DNS server that is asked, and so how
	// long it takes.
	proofsPerNetwork = 8
)

// errProofs says that DNS was not asked.
var errProofs = fmt.Errorf("the relay asks for too many domains at once (%w)", names.ErrNotAsked)

// domains asks DNS whose the custom domains are.
type domains struct {
	zone   string
	asking chan struct{}

	mu      sync.Mutex
	servers []netip.AddrPort     // that are asked; none are the system's
	from    map[netip.Prefix]int // those that are being asked for, by network
}

func newDomains(cfg *config.Relay) *domains {
	d := &domains{zone: cfg.Domain, asking: make(chan struct{}, maxProofs), from: make(map[netip.Prefix]int)}
	d.configure(cfg)
	return d
}

// configure takes up which DNS servers are asked from now on.
func (d *domains) configure(cfg *config.Relay) {
	var servers []netip.AddrPort
	for _, s := range cfg.Names.Resolvers {
		if a, err := domainproof.ParseServer(s); err == nil { // as config has checked
			servers = append(servers, a)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers = servers
}

// resolver asks the DNS servers of now.
func (d *domains) resolver() *domainproof.Resolver {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &domainproof.Resolver{Servers: d.servers}
}

// enter waits for a place for a question from a network. The function that it
// returns gives it back.
func (d *domains) enter(ctx context.Context, of netip.Prefix) (leave func(), ok bool) {
	if !d.count(of) {
		return nil, false
	}
	select {
	case d.asking <- struct{}{}:
		return func() { <-d.asking; d.uncount(of) }, true
	case <-ctx.Done():
		d.uncount(of)
		return nil, false
	}
}

// count counts a question from a network, and reports false when that has as many as
// it may. This machine's own has no limit: it may be a proxy, with anybody behind it.
func (d *domains) count(of netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[of] >= proofsPerNetwork && !of.Addr().IsLoopback() {
		return false
	}
	d.from[of]++
	return true
}

func (d *domains) uncount(of netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[of]--; d.from[of] == 0 {
		delete(d.from, of)
	}
}

// prove is for names.Names.
func (d *domains) prove(ctx context.Context, c names.Claimant) (names.Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, domainproof.Limit)
	defer cancel()
	if c.Source.IsValid() { // else it is checked again, of which few are at once
		leave, ok := d.enter(ctx, limits.Network(c.Source))
		if !ok {
			return nil, errProofs
		}
		defer leave()
	}
	list, err := d.resolver().Look(ctx, c.Name, d.zone)
	if err != nil {
		return nil, err
	}
	var e names.Evidence
	for _, n := range list {
		e = append(e, names.Mention(n))
	}
	return e, nil
}

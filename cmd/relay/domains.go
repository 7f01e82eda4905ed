package main

import (
	"context"
	"errors"

	"keystay/config"
	"keystay/internal/domainproof"
	"keystay/relay/names"
)

// maxProofs is how many custom domains DNS is asked for at once. Each takes two or
// three sockets.
const maxProofs = 64

// errProofs says that DNS was not asked.
var errProofs = errors.New("the relay asks for too many domains at once")

// domains asks DNS whose the custom domains are.
type domains struct {
	zone     string
	resolver domainproof.Resolver
	asking   chan struct{}
}

func newDomains(cfg *config.Relay) *domains {
	d := &domains{zone: cfg.Domain, asking: make(chan struct{}, maxProofs)}
	for _, s := range cfg.Names.Resolvers {
		if a, err := domainproof.ParseServer(s); err == nil { // as config has checked
			d.resolver.Servers = append(d.resolver.Servers, a)
		}
	}
	return d
}

// prove is for names.Names.
func (d *domains) prove(ctx context.Context, c names.Claimant) (names.Evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, domainproof.Limit)
	defer cancel()
	select {
	case d.asking <- struct{}{}:
		defer func() { <-d.asking }()
	case <-ctx.Done():
		return nil, errProofs
	}
	list, err := d.resolver.Look(ctx, c.Name, d.zone)
	if err != nil {
		return nil, err
	}
	var e names.Evidence
	for _, n := range list {
		e = append(e, names.Mention(n))
	}
	return e, nil
}

package main

import (
	"keystay/config"
	"keystay/relay/limits"
)

// limitsOf are the limits of a configuration as package limits has them.
func limitsOf(l config.Limits) limits.Config {
	return limits.Config{
		Exempt: l.Exempt,
		Address: limits.Address{
			Connections: l.Address.Connections, ConnectionRate: limits.Rate(l.Address.ConnectionRate),
			Hellos: l.Address.Hellos,
			Links:  l.Address.Links, LinkRate: limits.Rate(l.Address.LinkRate),
			Identities: limits.Rate(l.Address.Identities), Names: limits.Rate(l.Address.Names),
			Domains: limits.Rate(l.Address.Domains),
		},
		Identity: ownerOf(l.Identity),
		Name:     ownerOf(l.Name),
	}
}

func ownerOf(o config.OwnerLimits) limits.Owner {
	return limits.Owner{
		Streams: o.Streams, ConnsPerSecond: o.ConnectionRate.Count, Bandwidth: o.Bandwidth,
		BytesPerMonth: o.BytesPerMonth, Names: o.Names,
	}
}

package main

import "time"

// A Setting is what is taken for granted.
type Setting struct {
	Nodes, Names int
	Regions      []Region
	Seed         uint64

	LinkLasts  time.Duration // on average, until a device's link ends for a reason of its own
	NewNames   float64       // a second, in all
	Visitors   float64       // a second, in all
	Rate       float64       // bytes a second that a node sends to the others, or takes from them
	Full       int           // links of a node that carries all that it is meant to
	Processors int           // of each node, of which half compute handshakes
	Beat       time.Duration // between two nodes
	Silence    time.Duration // after which a node takes another one for gone
}

// A Region is a part of the world with a part of the nodes and of the devices, both
// in equal numbers.
type Region struct {
	Name string
	Away []time.Duration // there and back to each region, itself among them
}

// Fifty is the setting of which docs/scale.md has the figures: fifty nodes in five
// regions, a million names.
func Fifty() Setting {
	ms := func(all ...int) (list []time.Duration) {
		for _, n := range all {
			list = append(list, time.Duration(n)*time.Millisecond)
		}
		return list
	}
	return Setting{
		Nodes: 50, Names: 1_000_000, Seed: 1,
		Regions: []Region{
			{"eu", ms(8, 85, 145, 170, 190)},
			{"us-east", ms(85, 8, 65, 200, 120)},
			{"us-west", ms(145, 65, 8, 110, 180)},
			{"asia", ms(170, 200, 110, 8, 300)},
			{"south-america", ms(190, 120, 180, 300, 8)},
		},
		LinkLasts: 24 * time.Hour, NewNames: 1, Visitors: 50_000,
		Rate: 125e6, Full: 65_536, Processors: 4,
		Beat: time.Second, Silence: 4 * time.Second,
	}
}

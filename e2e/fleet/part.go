package main

import "time"

// A Parted is what comes of the nodes of one region being cut off from all others, while
// devices and visitors reach all of them.
type Parted struct {
	Noticed  time.Duration // until no visitor is sent across, by the last node
	Outside  float64       // share of the names that visitors at the larger part cannot reach
	Inside   float64       // share of the names that visitors at the region cannot reach
	Healed   time.Duration // from the network's healing until each node knows all names again
	Snapshot float64       // bytes that a node of the region takes in for that
}

// dialAgain is the longest wait of a node before it dials another one anew.
const dialAgain = time.Second

// Part cuts off a region.
func (f *Fleet) Part(region int) (p Parted) {
	inside := func(n int) bool { return f.nodes[n].region == region }
	var most time.Duration
	for a := range f.nodes {
		for b := range f.nodes {
			if inside(a) && !inside(b) {
				p.Noticed = max(p.Noticed, f.Silence-f.between(0, f.Beat))
				most = max(most, f.apart(a, b))
			}
		}
	}
	onlyInside, onlyOutside, outside := 0, 0, 0.0
	for i := range f.devices {
		in := 0
		for _, at := range f.devices[i].links {
			if inside(at) {
				in++
			} else {
				outside++
			}
		}
		switch in {
		case linksEach:
			onlyInside++
		case 0:
			onlyOutside++
		}
	}
	all := float64(len(f.devices))
	p.Outside, p.Inside = float64(onlyInside)/all, float64(onlyOutside)/all
	p.Snapshot = outside * f.costs.Entry
	p.Healed = dialAgain + 3*most + f.takes(p.Snapshot)
	return p
}

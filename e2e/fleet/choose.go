package main

import "time"

// see has the nodes say anew how much each carries.
func (f *Fleet) see() {
	if f.load == nil {
		f.load = make([]int, len(f.nodes))
	}
	for i := range f.nodes {
		f.load[i] = f.nodes[i].links
	}
}

// choose is the node to which a device makes its next link.
func (f *Fleet) choose(i int) int {
	best, least := none, time.Duration(0)
	mean := linksEach * len(f.devices) / len(f.nodes)
	for n := range f.nodes {
		at := &f.nodes[n]
		if at.gone || at.draining || f.devices[i].links[0] == n || f.devices[i].links[1] == n {
			continue
		}
		cost := f.away(i, n)
		if f.load[n] > mean {
			cost = cost * time.Duration(f.load[n]) / time.Duration(mean)
		}
		if best == none || cost < least {
			best, least = n, cost
		}
	}
	return best
}

package main

import (
	"slices"
	"time"

	"keystay/framing"
)

// A Move is what came of something after which links had to move.
type Move struct {
	Links   int           // that had to move
	Alone   int           // devices that had no link at all for a time
	Noticed time.Duration // until the other nodes send no visitor to it any more, the last of them
	Half    time.Duration // until half of the links were up again, on other nodes
	Most    time.Duration // until 99 of 100 were
	All     time.Duration // until all were
	Busy    int           // times that a device was sent away since a node had too much to do

	Changes int     // that were told of, each by one node to all others
	PeakIn  float64 // bytes a second that a node was told at most, in its busiest second
	PeakOut float64 // bytes a second that a node told the others at most

	Emptiest, Fullest int // links of a node that is there, after it
}

const (
	// trips is how many round trips a new link takes: TCP, TLS 1.3, HELLO, CLAIM.
	trips = 4
	// These are the real ones, of the packages relay and remote, which do not export them.
	mostWaiting = 4096
	longestWait = 12 * time.Second
	firstPause  = 500 * time.Millisecond
	longPause   = 15 * time.Second
)

// watched are links that move, until all are up.
type watched struct {
	began time.Duration
	took  []time.Duration
	move  Move
}

// Die lets a node die: its machine, so that nothing is heard of it any more, or only its
// process, for which the machine says that it is gone.
func (f *Fleet) Die(n int, machine bool) Move {
	f.begin()
	w := &watched{began: f.clock.now}
	f.nodes[n].gone = true
	for peer := range f.nodes {
		if peer != n && machine {
			// The last sign of life is as old as the time since its last PING.
			w.move.Noticed = max(w.move.Noticed, f.Silence-f.between(0, f.Beat))
		} else if peer != n {
			w.move.Noticed = max(w.move.Noticed, f.apart(peer, n)/2)
		}
	}
	f.see()
	for i := range f.devices {
		d := &f.devices[i]
		for k, at := range d.links {
			if at != n {
				continue
			}
			w.move.Links++
			f.unlink(i, k)
			knows := f.away(i, n) / 2 // by a reset
			if machine {
				knows = framing.SilenceLimit - f.between(0, framing.PingInterval)
			}
			f.clock.after(knows, func() { f.dial(i, k, none, firstPause, w) })
		}
		if d.links == [linksEach]int{none, none} {
			w.move.Alone++
		}
	}
	return f.end(w)
}

// Drain has all links of a node move, and no new one come.
func (f *Fleet) Drain(n int) Move {
	f.nodes[n].weight = 0
	return f.settle(n)
}

// Back lets a node that was drained take links again.
func (f *Fleet) Back(n int) Move {
	f.nodes[n].weight = 100
	return f.settle(n)
}

// toldWithin is the time over which remotes are told of nodes that have another weight, of
// package relay, which does not export it.
const toldWithin = 2 * time.Second

// settle has all devices hear of what is new of a node, and move their links as their rule
// says. A link is given up once the other one is up.
func (f *Fleet) settle(n int) Move {
	f.begin()
	f.see()
	w := &watched{began: f.clock.now}
	for i := range f.devices {
		d := &f.devices[i]
		if f.nodes[n].weight == 0 && !slices.Contains(d.links[:], n) || !slices.Contains(f.near[d.region], n) {
			continue // it is nothing to this one
		}
		k, _, why, ok := f.move(i)
		if !ok {
			continue
		}
		w.move.Links++
		f.clock.after(f.between(0, toldWithin)+f.between(0, why.Within()), func() { f.dial(i, k, d.links[k], firstPause, w) })
	}
	return f.end(w)
}

// dial has a device make a link where its rule says, in the place of one that it has, or
// had.
func (f *Fleet) dial(i, k, has int, pause time.Duration, w *watched) {
	to := none
	if has == none {
		to = f.choose(i, none)
	} else if at, next, _, ok := f.move(i); ok && at == k {
		to = next
	}
	if to == none {
		return // it stays where it is by now
	}
	away := f.away(i, to)
	again := func(after time.Duration) {
		w.move.Busy++
		f.clock.after(after+f.between(0, pause)+1, func() { f.dial(i, k, has, min(2*pause, longPause), w) })
	}
	f.clock.after(away*3/2, func() { // TCP is up, and the hello is there
		start, ok := f.handshake(to)
		switch {
		case !ok:
			again(away / 2)
			return
		case start > longestWait:
			again(longestWait)
			return
		}
		f.clock.after(start+f.costs.LinkTime+away*(trips*2-3)/2, func() {
			if has != none {
				f.tell(has) // that it has no link any more
				f.unlink(i, k)
			}
			f.link(i, k, to)
			f.tell(to)
			w.took = append(w.took, f.clock.now-w.began)
		})
	})
}

// handshake takes the place for handshakes that is free first at a node. It returns how
// long until it is; ok is false where too many wait for one.
func (f *Fleet) handshake(to int) (wait time.Duration, ok bool) {
	places := f.nodes[to].free
	first := 0
	for p := range places {
		if places[p] < places[first] {
			first = p
		}
	}
	start := max(places[first], f.clock.now)
	wait = start - f.clock.now
	if int(wait/max(1, f.costs.LinkTime))*len(places) > mostWaiting {
		return 0, false
	}
	if wait <= longestWait {
		places[first] = start + f.costs.LinkTime
	}
	return wait, true
}

// apart is the time from one node to another one and back.
func (f *Fleet) apart(a, b int) time.Duration {
	return f.Regions[f.nodes[a].region].Away[f.nodes[b].region]
}

// end lets all happen that is under way, and adds up.
func (f *Fleet) end(w *watched) Move {
	f.clock.run()
	m := &w.move
	slices.Sort(w.took)
	if n := len(w.took); n > 0 {
		m.Half, m.Most, m.All = w.took[n/2], w.took[n*99/100], w.took[n-1]
	}
	m.Changes = f.told.changes
	m.Emptiest, m.Fullest = f.spread()
	for _, n := range f.told.bySecond {
		m.PeakIn = max(m.PeakIn, float64(n)*f.costs.Change)
	}
	for _, seconds := range f.told.busiest {
		for _, n := range seconds {
			m.PeakOut = max(m.PeakOut, float64(n*(f.up()-1))*f.costs.Change)
		}
	}
	return *m
}

package main

import (
	"math/rand/v2"
	"time"
)

// A Fleet is the nodes, the devices and their links.
type Fleet struct {
	Setting
	costs   Costs
	random  *rand.Rand
	nodes   []node
	devices []device
	clock   clock
	told    told
	load    []int // as the nodes have said it last
}

// linksEach is how many links a device has, to as many nodes.
const linksEach = 2

// A node is one machine of the relay.
type node struct {
	region   int
	gone     bool // dead, or no longer there
	draining bool // takes no new links
	links    int
	free     []time.Duration // when each of its places for handshakes is free
}

// A device has one name. Its links are numbers of nodes, or none.
type device struct {
	region int
	mile   time.Duration // there and back to its provider
	links  [linksEach]int
}

const none = -1

// New makes a fleet in which all devices have their links.
func New(s Setting, c Costs) *Fleet {
	f := &Fleet{Setting: s, costs: c, random: rand.New(rand.NewPCG(s.Seed, 0)), nodes: make([]node, s.Nodes), devices: make([]device, s.Names)}
	for i := range f.nodes {
		f.nodes[i] = node{region: i % len(s.Regions), free: make([]time.Duration, max(1, s.Processors/2))}
	}
	for i := range f.devices {
		f.devices[i] = device{region: f.random.IntN(len(s.Regions)), mile: f.between(5*time.Millisecond, 30*time.Millisecond), links: [linksEach]int{none, none}}
	}
	f.place()
	return f
}

// place gives each device its links, one device after the other: what nodes say of their
// load is as old as the last hundredth of them.
func (f *Fleet) place() {
	f.see()
	for i := range f.devices {
		if i%(len(f.devices)/100+1) == 0 {
			f.see()
		}
		for k := range linksEach {
			f.link(i, k, f.choose(i))
		}
	}
	f.see()
}

// between is a random time from a to b.
func (f *Fleet) between(a, b time.Duration) time.Duration {
	return a + time.Duration(f.random.Int64N(int64(b-a)))
}

// link gives a device a link.
func (f *Fleet) link(i, k, to int) {
	f.devices[i].links[k] = to
	f.nodes[to].links++
}

// unlink takes a link from a device.
func (f *Fleet) unlink(i, k int) {
	if from := f.devices[i].links[k]; from != none {
		f.nodes[from].links--
		f.devices[i].links[k] = none
	}
}

// away is the time from a device to a node and back: that of the two regions, of the
// device's own way to its provider, and up to 5 ms that only these two have.
func (f *Fleet) away(i, to int) time.Duration {
	d := &f.devices[i]
	own := mixed(uint64(i)<<16|uint64(to)) % uint64(5*time.Millisecond)               // #nosec G115 -- less than 5 ms
	return f.Regions[d.region].Away[f.nodes[to].region] + d.mile + time.Duration(own) // #nosec G115
}

// mixed is a number that looks like chance and is always the same.
func mixed(n uint64) uint64 {
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	n *= 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// up is how many nodes are there.
func (f *Fleet) up() (n int) {
	for i := range f.nodes {
		if !f.nodes[i].gone {
			n++
		}
	}
	return n
}

// told counts what nodes tell each other of names that have come or gone with them.
type told struct {
	changes  int
	bySecond map[int]int         // of all nodes
	ofNode   map[int]int         // of each
	busiest  map[int]map[int]int // of each node by second
	began    time.Duration
}

// tell notes that a node tells all others of one name.
func (f *Fleet) tell(from int) {
	t := &f.told
	second := int((f.clock.now - t.began) / time.Second)
	t.changes++
	t.bySecond[second]++
	t.ofNode[from]++
	if t.busiest[from] == nil {
		t.busiest[from] = map[int]int{}
	}
	t.busiest[from][second]++
}

// begin forgets what was told before.
func (f *Fleet) begin() {
	f.told = told{bySecond: map[int]int{}, ofNode: map[int]int{}, busiest: map[int]map[int]int{}, began: f.clock.now}
}

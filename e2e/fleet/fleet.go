package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/e2e/fleet/costs"
	"keystay/framing"
	"keystay/internal/placing"
)

// A Fleet is the nodes, the devices and their links.
type Fleet struct {
	Setting
	costs   costs.Costs
	random  *rand.Rand
	nodes   []node
	near    [][]int // for devices of each region: the nodes there and in the region next to it
	devices []device
	clock   clock
	told    told
	seen    []placing.Node // for one device, while it chooses
}

// linksEach is how many links a device has, to as many nodes.
const linksEach = 2

// A node is one machine of the relay.
type node struct {
	name   string
	region int
	weight int
	gone   bool // dead
	links  int
	load   int             // in thousandths, as it has said it last
	free   []time.Duration // when each of its places for handshakes is free
}

// A device has one name. Its links are numbers of nodes, or none.
type device struct {
	region int
	mile   time.Duration // there and back to its provider
	links  [linksEach]int
}

const none = -1

// New makes a fleet in which all devices have their links.
func New(s Setting, c costs.Costs) *Fleet {
	f := &Fleet{Setting: s, costs: c, random: rand.New(rand.NewPCG(s.Seed, 0)), nodes: make([]node, s.Nodes), devices: make([]device, s.Names)}
	for i := range f.nodes {
		f.nodes[i] = node{name: fmt.Sprintf("node%d", i), region: i % len(s.Regions), weight: 100, free: make([]time.Duration, max(1, s.Processors/2))}
	}
	for r := range s.Regions {
		f.near = append(f.near, f.nodesNear(r))
	}
	for i := range f.devices {
		f.devices[i] = device{region: f.random.IntN(len(s.Regions)), mile: f.between(5*time.Millisecond, 30*time.Millisecond), links: [linksEach]int{none, none}}
	}
	f.place()
	return f
}

// Clone returns a fleet that is like f now, and goes its own way from there on.
func (f *Fleet) Clone() *Fleet {
	g := *f
	g.random = rand.New(rand.NewPCG(f.Seed, 1))
	g.nodes, g.devices = slices.Clone(f.nodes), slices.Clone(f.devices)
	for i := range g.nodes {
		g.nodes[i].free = make([]time.Duration, len(f.nodes[i].free))
	}
	g.clock, g.seen = clock{}, nil
	return &g
}

// nodesNear are the nodes among which devices of a region choose: those of the farther
// ones would draw nothing, and it would only take time to look at them.
func (f *Fleet) nodesNear(region int) (list []int) {
	away := f.Regions[region].Away
	next := none
	for r := range away {
		if r != region && (next == none || away[r] < away[next]) {
			next = r
		}
	}
	for n := range f.nodes {
		if at := f.nodes[n].region; at == region || at == next {
			list = append(list, n)
		}
	}
	return list
}

// place gives each device its links, one device after the other: what nodes say of their
// load is as old as the last hundredth of them.
func (f *Fleet) place() {
	for i := range f.devices {
		if i%(len(f.devices)/100+1) == 0 {
			f.see()
		}
		for k := range linksEach {
			f.link(i, k, f.choose(i, none))
		}
	}
	f.see()
}

// see has the nodes say anew how much each carries.
func (f *Fleet) see() {
	for i := range f.nodes {
		f.nodes[i].load = f.nodes[i].links * framing.FullLoad / f.Full
	}
}

// view is what a device sees of the nodes, and the names of those that it has links to.
func (f *Fleet) view(i int) (nodes []placing.Node, links []string) {
	nodes = f.seen[:0]
	for _, n := range f.near[f.devices[i].region] {
		at := &f.nodes[n]
		nodes = append(nodes, placing.Node{Name: at.name, Region: f.Regions[at.region].Name, Weight: at.weight, Load: at.load, RTT: f.away(i, n), Away: at.gone})
	}
	f.seen = nodes
	for _, at := range f.devices[i].links {
		if at != none {
			links = append(links, f.nodes[at].name)
		}
	}
	return nodes, links
}

// choose is the node to which a device makes its next link; lately is where that was
// before, or none.
func (f *Fleet) choose(i, lately int) int {
	nodes, links := f.view(i)
	before := ""
	if lately != none {
		before = f.nodes[lately].name
	}
	name, ok := placing.Best(seed(i), nodes, links, before)
	if !ok {
		return none
	}
	return f.named(name)
}

// move is the link that a device is to move, and to which node; ok is false where none is.
func (f *Fleet) move(i int) (k, to int, why placing.Why, ok bool) {
	nodes, links := f.view(i)
	m, ok := placing.Next(seed(i), nodes, links)
	if !ok {
		return none, none, 0, false
	}
	return slices.Index(f.devices[i].links[:], f.named(m.From)), f.named(m.To), m.Why, true
}

func seed(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) } // #nosec G115 -- from 0 on

func (f *Fleet) named(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "node")) // New has made it
	return n
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

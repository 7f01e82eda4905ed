package remote

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/placing"
)

// nodes is what a way knows of the nodes of its relay. It knows none where the relay
// runs on one machine, or is too old to tell of them.
type nodes struct {
	seed    []byte
	changed chan struct{} // something may be to do; holds one

	mu     sync.Mutex
	relay  string // that has told of them
	berths map[*berth]struct{}
	heard  int                   // lists so far
	last   []framing.Node        // what was known when the last link that had a list ended
	known  map[string]*knownNode // by name
	told   bool                  // the log has it that one cannot be dialled
	fresh  bool                  // all round trips have been forgotten
}

// A berth is the place of a link on a node, from before it is dialled.
type berth struct {
	nodes *nodes

	// Guarded by nodes.mu.
	node string        // "" is not known
	link *framing.Link // once it is up
	list framing.Nodes // that the relay has told on it
	at   int           // when, by nodes.heard; 0 is never
}

// A target is where a link is dialled; the zero target is the relay's own name.
type target struct{ node, address string }

func newNodes(seed []byte) *nodes {
	return &nodes{seed: seed, changed: make(chan struct{}, 1), berths: make(map[*berth]struct{}), known: make(map[string]*knownNode)}
}

// tell makes the way look what is to do.
func (n *nodes) tell() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// berth reserves a place for a further link to the relay, and returns where to dial it.
// Lately is the node that the link was on before, or empty.
func (n *nodes) berth(relay, lately string) (*berth, target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := &berth{nodes: n}
	n.berths[b] = struct{}{}
	if relay != n.relay {
		return b, target{}
	}
	list, links := n.lookLocked(time.Now())
	name, ok := placing.Best(n.seed, list, links, lately)
	if k := n.known[name]; ok && k != nil && k.address != "" && time.Now().After(k.away) {
		b.node = name
		return b, target{name, k.address}
	}
	return b, target{}
}

// reserve is berth for a link to this very node. It is false where the node cannot be
// dialled.
func (n *nodes) reserve(name string) (b *berth, to target, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[name]
	if k == nil || k.address == "" {
		return nil, target{}, false
	}
	b = &berth{nodes: n, node: name}
	n.berths[b] = struct{}{}
	return b, target{name, k.address}, true
}

// find returns where a node of the relay is dialled. It is false where it cannot be.
func (n *nodes) find(name string) (relay string, to target, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[name]
	if k == nil || k.address == "" {
		return n.relay, target{}, false
	}
	return n.relay, target{name, k.address}, true
}

// of returns the relay that has told of nodes, or "".
func (n *nodes) of() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.relay
}

// isFresh reports whether all was forgotten since it was called last.
func (n *nodes) isFresh() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh := n.fresh
	n.fresh = false
	return fresh
}

// place notes that the link of the berth is up. Without a link it is to be dialled
// elsewhere.
func (b *berth) place(link *framing.Link) {
	b.nodes.mu.Lock()
	defer b.nodes.mu.Unlock()
	b.link = link
	if link == nil {
		b.node = ""
	}
}

// where returns the node, "" where it is not known.
func (b *berth) where() string {
	b.nodes.mu.Lock()
	defer b.nodes.mu.Unlock()
	return b.node
}

// leave gives the berth up.
func (b *berth) leave() {
	n := b.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, has := n.berths[b]; !has {
		return
	}
	list := n.mergeLocked()
	delete(n.berths, b)
	if !n.hasListLocked() {
		n.last = list
	}
	n.tell()
}

// hear takes the list that a relay tells on the link of the berth.
func (b *berth) hear(relay string, list framing.Nodes) {
	n := b.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, has := n.berths[b]; !has {
		return
	}
	if relay != n.relay {
		n.relay, n.last = relay, nil
		clear(n.known)
	}
	n.heard++
	b.list, b.at, b.node = list, n.heard, list.Own
	now := make(map[string]*knownNode)
	for _, one := range n.mergeLocked() {
		k, address := n.known[one.Name], dialable(one.Address, relay)
		if k == nil || k.address != address {
			k = &knownNode{address: address}
		}
		now[one.Name] = k
	}
	n.known = now
	n.tell()
}

func (n *nodes) hasListLocked() bool {
	for b := range n.berths {
		if b.at > 0 {
			return true
		}
	}
	return false
}

// mergeLocked is what all links say together: nodes that are cut off from each other tell
// different lists. Each knows itself best, and else the newer list counts.
func (n *nodes) mergeLocked() []framing.Node {
	var told []*berth
	for b := range n.berths {
		if b.at > 0 {
			told = append(told, b)
		}
	}
	if len(told) == 0 {
		return n.last
	}
	slices.SortFunc(told, func(a, b *berth) int { return cmp.Compare(a.at, b.at) })
	all := make(map[string]framing.Node)
	for _, b := range told {
		for _, one := range b.list.List {
			all[one.Name] = one
		}
	}
	for _, b := range told {
		for _, one := range b.list.List {
			if one.Name == b.list.Own {
				all[one.Name] = one
			}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b framing.Node) int { return cmp.Compare(a.Name, b.Name) })
}

// look returns the nodes as package placing has them, and the nodes of the links.
func (n *nodes) look() (list []placing.Node, links []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lookLocked(time.Now())
}

func (n *nodes) lookLocked(now time.Time) (list []placing.Node, links []string) {
	for b := range n.berths {
		if b.node == "" {
			continue
		}
		links = append(links, b.node)
		if k := n.known[b.node]; k != nil && b.link != nil {
			if rtt := b.link.RTT(); rtt > 0 && (k.rtt == 0 || rtt < k.rtt || now.Sub(k.measured) > oldRTT) {
				k.rtt, k.measured = rtt, now
			}
		}
	}
	slices.Sort(links)
	for _, one := range n.mergeLocked() {
		k := n.known[one.Name]
		if k == nil {
			continue
		}
		_, here := slices.BinarySearch(links, one.Name)
		list = append(list, placing.Node{Name: one.Name, Region: one.Region, Weight: int(one.Weight), Load: int(one.Load),
			RTT: k.rtt, Old: now.Sub(k.measured) > oldRTT,
			// One with a link may be reached by the relay's own name alone.
			Away: k.going.After(now) || !here && (k.address == "" || k.away.After(now))})
	}
	return list, links
}

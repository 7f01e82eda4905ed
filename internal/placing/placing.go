// Package placing says on which nodes of a relay a remote has its links, and when one of
// them is to move. It is the rule alone: it knows no clock and no network, and the same
// input gives the same answer.
//
// Each node pulls a remote: by its weight, less so the nearer it is to full, and less so
// the farther it is. Which node wins is drawn for each remote and node from a hash of
// both, so that of many remotes that stand alike each node gets as many as it pulls, and
// a node that comes or goes moves no other links than its own share of them (rendezvous
// hashing with weights). A link that is up stays where it is as long as no other node is
// better by a clear part, see stay: so small changes of loads and round trips move
// nothing.
package placing

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"
)

const (
	// stay is how many times as much a node pulls a link that it has already.
	stay = 1.25
	// easy is the load, in thousandths, up to which a node pulls with its whole weight;
	// from there on it pulls less, and at full with the part fullPart.
	easy     = 700
	full     = 1000
	fullPart = 0.1
	// nearBy and half of the shortest round trip, added to that one, are the round trip
	// at which a node pulls a quarter as much as the nearest. What is much less counts
	// for next to nothing, and with twice as much added a node pulls a 256th.
	nearBy = 10 * time.Millisecond
	// unknown is the part of its weight with which a node pulls whose round trip is not
	// known, while that of others is.
	unknown = 1.0 / 16
)

// A Node is one of the relay's nodes, as a remote sees it.
type Node struct {
	Name   string
	Region string        // where it stands; nodes of one region are taken to be equally far until they are measured
	Weight int           // its share of the links beside the others'; 0: it takes none, and those that it has are to move
	Load   int           // thousandths of what it is meant to carry
	RTT    time.Duration // the round trip from here; 0 is not known
	Old    bool          // the round trip should be measured anew
	Away   bool          // it cannot be reached from here now, or it goes away
}

func (n *Node) takes() bool { return n.Weight > 0 && !n.Away }

// A Why says why a link is to move. A smaller one is more urgent.
type Why int

// The reasons of a move.
const (
	Leaving Why = iota // its node takes no links any more, or goes away
	Apart              // it shares its node with another link, and there is one without
	Better             // another node is clearly better
)

// Within is the time over which the moves of many remotes with the same reason are to be
// spread: each waits for a random part of it.
func (w Why) Within() time.Duration {
	switch w {
	case Leaving:
		return 20 * time.Second
	case Apart:
		return 2 * time.Minute
	}
	return 10 * time.Minute
}

func (w Why) String() string {
	switch w {
	case Leaving:
		return "its node takes no links any more"
	case Apart:
		return "both links were on one node"
	}
	return "another node is nearer or carries less"
}

// A Move is a link that is to go from one node to another.
type Move struct {
	From, To string
	Why      Why
}

// Best returns the node for a further link of a remote, whose links are on the nodes of
// the list links, each as often as it has some; lately is where the new link was before,
// or empty. It is false where no node takes links.
func Best(seed []byte, nodes []Node, links []string, lately string) (name string, ok bool) {
	p := newPlaces(seed, nodes, links)
	return p.best(lately)
}

// Next returns the most urgent move of the links of a remote. Links on nodes that are not
// in the list stay where they are.
func Next(seed []byte, nodes []Node, links []string) (Move, bool) {
	p := newPlaces(seed, nodes, links)
	links = p.worstFirst(links)
	for _, why := range []Why{Leaving, Apart, Better} {
		for _, from := range links {
			n := p.find(from)
			if n == nil || n.takes() == (why == Leaving) {
				continue
			}
			p.count[from]--
			to, ok := p.best(from)
			apart := ok && p.count[from] > p.count[to]
			p.count[from]++
			switch {
			case !ok || to == from, why == Apart && !apart:
			default:
				return Move{from, to, why}, true
			}
		}
	}
	return Move{}, false
}

// Measure returns the node whose round trip is to be measured next, for a remote with
// these links: at first one of each region, then those that are best by what is known. It
// is false where nothing is left to measure.
func Measure(seed []byte, nodes []Node, links []string) (name string, ok bool) {
	p := newPlaces(seed, nodes, nil)
	ranked := make([]*Node, 0, len(nodes))
	for i := range nodes {
		if nodes[i].takes() {
			ranked = append(ranked, &nodes[i])
		}
	}
	slices.SortStableFunc(ranked, func(a, b *Node) int { return cmp.Compare(p.score(a, ""), p.score(b, "")) })
	for _, n := range ranked {
		if _, known := p.regions[n.Region]; !known {
			return n.Name, true
		}
	}
	for _, n := range ranked[:min(len(ranked), len(links)+1)] {
		if n.RTT == 0 || n.Old {
			return n.Name, true
		}
	}
	return "", false
}

// places are the nodes for the links of one remote.
type places struct {
	seed    []byte
	nodes   []Node
	count   map[string]int // links on each
	nearest time.Duration  // the shortest round trip; 0 where none is known
	regions map[string]time.Duration
}

func newPlaces(seed []byte, nodes []Node, links []string) *places {
	p := &places{seed: seed, nodes: nodes, count: make(map[string]int), regions: make(map[string]time.Duration)}
	for _, l := range links {
		p.count[l]++
	}
	for _, n := range nodes {
		if n.RTT <= 0 || !n.takes() {
			continue
		}
		if d, ok := p.regions[n.Region]; !ok || n.RTT < d {
			p.regions[n.Region] = n.RTT
		}
		if p.nearest == 0 || n.RTT < p.nearest {
			p.nearest = n.RTT
		}
	}
	return p
}

// worstFirst sorts links, so that none moves to the node of another one that moves, too.
func (p *places) worstFirst(links []string) []string {
	score := make(map[string]float64)
	for _, l := range links {
		if n := p.find(l); n != nil {
			score[l] = p.score(n, "")
		}
	}
	return slices.SortedStableFunc(slices.Values(links), func(a, b string) int { return cmp.Compare(score[b], score[a]) })
}

func (p *places) find(name string) *Node {
	for i := range p.nodes {
		if p.nodes[i].Name == name {
			return &p.nodes[i]
		}
	}
	return nil
}

// best returns the node with the fewest links, and of several the one that pulls the
// most; has is the one that has the link already.
func (p *places) best(has string) (name string, ok bool) {
	var score float64
	for i := range p.nodes {
		n := &p.nodes[i]
		if !n.takes() {
			continue
		}
		s := p.score(n, has)
		fewer := p.count[n.Name] - p.count[name]
		if !ok || fewer < 0 || fewer == 0 && s < score {
			name, score, ok = n.Name, s, true
		}
	}
	return name, ok
}

// score is what a node has drawn for this remote: the lowest wins. It is exponentially
// distributed, with the pull as its rate, so that a node wins with the probability of its
// part of all pulls.
func (p *places) score(n *Node, has string) float64 {
	pull := float64(n.Weight) * room(n.Load) * p.near(n)
	if n.Name == has {
		pull *= stay
	}
	h := sha256.New()
	h.Write(p.seed)
	h.Write([]byte{0})
	h.Write([]byte(n.Name))
	drawn := (float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) + 0.5) / (1 << 53)
	return -math.Log(drawn) / pull
}

// room is the part of its weight with which a node pulls that has this load.
func room(load int) float64 {
	over := min(1, max(0, float64(load-easy)/(full-easy)))
	return 1 - over*(1-fullPart)
}

// near is the part of its weight with which a node pulls that stands where it does.
func (p *places) near(n *Node) float64 {
	rtt := n.RTT
	if rtt <= 0 {
		rtt = p.regions[n.Region]
	}
	switch {
	case p.nearest == 0:
		return 1
	case rtt <= 0:
		return unknown
	}
	far := (rtt - p.nearest).Seconds() / (nearBy + p.nearest/2).Seconds()
	if far > 2 { // a straight line from there on, so that nodes that are all very far are told apart
		return math.Exp2(max(-1000, -2*(4*far-4)))
	}
	return math.Exp2(-2 * far * far)
}

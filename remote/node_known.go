package remote

import (
	"math/rand/v2"
	"time"

	"keystay/framing"
)

const (
	// firstAway is how long a node is left alone that cannot be reached; each further
	// time it is twice as long, up to maxAway.
	firstAway = 30 * time.Second
	maxAway   = 30 * time.Minute
	// maxGoing is how long at most a node is left alone that has said that it goes.
	maxGoing = 5 * time.Minute
	// proven is how long a link must last so that earlier failures of its node are
	// forgotten.
	proven = 10 * time.Minute
	// oldRTT is after how long a round trip is measured anew.
	oldRTT = time.Hour
)

// A knownNode is what this device has found out about a node.
type knownNode struct {
	address  string        // "" where the node cannot be dialled by itself
	rtt      time.Duration // 0 is not known
	measured time.Time
	going    time.Time // until then it is left alone, whoever is there: it has said that it goes
	away     time.Time // until then it is not dialled: it was not reached
	failures int
}

// failed notes that a node was not reached, though the network is there, or did not last.
func (n *nodes) failed(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.known[name]
	if k == nil {
		return
	}
	k.failures++
	wait := min(maxAway, firstAway<<min(k.failures-1, 10))
	k.away = time.Now().Add(wait*3/4 + rand.N(wait/2))
	n.tell()
}

// tellsFirst reports whether the log does not have it yet that a node is not reached.
func (n *nodes) tellsFirst() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := !n.told
	n.told = true
	return first
}

// goes notes that the node of a link has said that it goes.
func (b *berth) goes(g framing.GoAway) {
	if g.Code == framing.GoAwayTakeover {
		return // another process of the node is there
	}
	n := b.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := n.known[b.node]; k != nil {
		k.going = time.Now().Add(min(maxGoing, max(firstAway, g.In)))
	}
	n.tell()
}

// lasted notes how long a link has been up, and whether it was lost.
func (n *nodes) lasted(name string, up time.Duration, lost bool) {
	switch {
	case up >= proven:
		n.mu.Lock()
		if k := n.known[name]; k != nil {
			k.failures = 0
		}
		n.mu.Unlock()
	case lost && up < steady:
		n.failed(name)
	}
}

// measured notes the round trip of a node.
func (n *nodes) measured(name string, rtt time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := n.known[name]; k != nil {
		k.rtt, k.measured = max(rtt, 1), time.Now()
	}
	n.tell()
}

// forget forgets what another network may have changed.
func (n *nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range n.known {
		k.rtt, k.measured, k.away, k.failures = 0, time.Time{}, time.Time{}, 0
	}
	n.fresh = true
	n.tell()
}

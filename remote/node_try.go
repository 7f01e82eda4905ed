package remote

import (
	"context"
	"sync"
	"time"

	"keystay/framing"
)

// maxTriedNodes is how many nodes TryLink dials.
const maxTriedNodes = 8

// A TriedNode is a node of a relay that runs on several machines.
type TriedNode struct {
	Name, Region string
	Own          bool          // the link is on it
	Takes        bool          // it takes new links
	RTT          time.Duration // to its own address; 0 where none was measured
	Err          error         // why it was not reached there; nil where it was, or was not tried
}

// tryNodes dials the nodes that a relay tells of, the first few of them.
func (w *way) tryNodes(ctx context.Context, r *reached) (all []TriedNode) {
	_ = r.link.Probe(framing.ProbeTimeout) // what the relay has told right after its welcome is here then
	list, _ := w.nodes.look()
	own := r.berth.where()
	var wg sync.WaitGroup
	all = make([]TriedNode, len(list))
	for i, n := range list {
		all[i] = TriedNode{Name: n.Name, Region: n.Region, Own: n.Name == own, Takes: n.Weight > 0}
		_, to, ok := w.nodes.find(n.Name)
		if !ok || i >= maxTriedNodes || !w.direct(r.relay) {
			continue
		}
		wg.Go(func() { all[i].RTT, all[i].Err = w.measureNode(ctx, r.relay, to) })
	}
	wg.Wait()
	return all
}

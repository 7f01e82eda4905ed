package relay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"keystay/framing"
)

const (
	// nodesSpread is over how long the remotes are told that nodes have come or gone,
	// or have another weight: so that they do not all act at one moment. No two rounds
	// begin within it.
	nodesSpread = 2 * time.Second
	// loadInterval is how often the remotes are told where only loads are others, and
	// loadSpread over how long.
	loadInterval = time.Minute
	loadSpread   = 20 * time.Second
	// nodesStep is how often in a round some of the remotes are told.
	nodesStep = 50 * time.Millisecond
	// nodesAgain is after how long those are told for whom a link had no room.
	nodesAgain = 5 * time.Second
)

// SetNodes tells the remotes of the relay's nodes: those that are connected within some
// seconds, or within about a minute where only the load of nodes is another one, and each
// new one as it comes. It may be called as often as one likes, also before Serve. A relay
// on one machine never calls it, and its remotes hear of no nodes. The error is that of
// [framing.Nodes.Check]: then nothing has changed.
func (s *Server) SetNodes(n framing.Nodes) error {
	if err := n.Check(); err != nil {
		return fmt.Errorf("set nodes: %w", err)
	}
	s.init()
	if s.news.set(n) && s.ctx.Err() == nil {
		s.wg.Go(func() { s.news.run(s.ctx, s.presence.links) })
	}
	return nil
}

// nodeNews is what remotes are told of the relay's nodes. The zero value tells nothing.
type nodeNews struct {
	mu      sync.Mutex // also held while one remote is told, so that none hears the older list last
	now     framing.Nodes
	version uint64 // of now; 0 before the first
	urgent  bool   // more than loads is another than in the last round
	changed chan struct{}
	load    processors // of this node
}

// set takes a new list, and reports whether it is the first, so that run is due.
func (n *nodeNews) set(to framing.Nodes) (first bool) {
	to.List = slices.SortedFunc(slices.Values(to.List), func(a, b framing.Node) int { return cmp.Compare(a.Name, b.Name) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if first = n.version == 0; first {
		n.changed = make(chan struct{}, 1)
	}
	if !first && to.Own == n.now.Own && slices.Equal(to.List, n.now.List) {
		return false
	}
	n.urgent = n.urgent || first || to.Own != n.now.Own || !slices.EqualFunc(to.List, n.now.List, sameButLoad)
	n.now = to
	n.version++
	select {
	case n.changed <- struct{}{}:
	default:
	}
	return first
}

func sameButLoad(a, b framing.Node) bool {
	a.Load, b.Load = 0, 0
	return a == b
}

// reachable returns the name of this node, where remotes are told how to dial it, or "".
func (n *nodeNews) reachable() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range n.now.List {
		if one.Name == n.now.Own && one.Address != "" {
			return one.Name
		}
	}
	return ""
}

// tell tells one remote, unless it has heard it or is not let in yet. It reports false
// where its link has no room.
func (n *nodeNews) tell(sess *session) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.version == sess.heard || !sess.up.Load() {
		return true
	}
	if !sess.link.TellNodes(n.now) {
		return false
	}
	sess.heard = n.version
	return true
}

// run tells the remotes of each change, one round after the other, until ctx ends.
func (n *nodeNews) run(ctx context.Context, links func() []*session) {
	var last time.Time // when a round was over
	for {
		select {
		case <-n.changed:
		case <-ctx.Done():
			return
		}
		if !n.isUrgent() && !n.rest(ctx, time.Until(last.Add(loadInterval))) {
			return
		}
		for again := true; again; {
			var ok bool
			if again, ok = n.round(ctx, links()); !ok || again && !n.rest(ctx, nodesAgain) {
				return
			}
		}
		last = time.Now()
	}
}

func (n *nodeNews) isUrgent() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.urgent
}

// rest waits for d, or until there is something urgent. It reports false when ctx ends.
func (n *nodeNews) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-n.changed:
			if n.isUrgent() {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// round tells all remotes what is known at that moment. It reports whether some are to
// be told later, and false for ok when ctx has ended.
func (n *nodeNews) round(ctx context.Context, all []*session) (again, ok bool) {
	n.mu.Lock()
	steps := int(loadSpread / nodesStep)
	if n.urgent {
		steps = int(nodesSpread / nodesStep)
	}
	n.urgent = false
	n.mu.Unlock()
	tick := time.NewTicker(nodesStep)
	defer tick.Stop()
	for step := range steps {
		for _, sess := range all[step*len(all)/steps : (step+1)*len(all)/steps] {
			again = !n.tell(sess) || again
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, false
		}
	}
	return again, true
}

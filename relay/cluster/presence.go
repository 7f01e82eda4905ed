package cluster

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// maxDoubtful is how many names that two identities have on two nodes are looked at
// again.
const maxDoubtful = 1 << 14

// An entry is what a node has said of a name.
type entry struct {
	key     [keySize]byte
	run     framing.Run   // the newest
	others  []framing.Run // further replicas
	replica bool
	said    uint64 // grows with each word
}

// has reports whether a run is one of the entry.
func (e *entry) has(run framing.Run) bool { return e.run == run || slices.Contains(e.others, run) }

// Changed notes that the runs have changed that a name has here. It does not wait.
func (c *Cluster) Changed(name string) {
	c.init()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, p := range c.peers {
		p.mark(name)
	}
}

// hearUp takes up that names are connected on the node.
func (p *peer) hearUp(body []byte) error {
	var all []relay.Presence
	if err := parseUp(body, func(at relay.Presence) { all = append(all, at) }); err != nil {
		return err
	}
	if !p.words.take(len(all)) {
		return errFlood
	}
	p.c.stats.add(&p.c.stats.heard, len(all))
	c := p.c
	c.mu.Lock()
	if p.names == nil { // it is over
		c.mu.Unlock()
		return errReplaced
	}
	for i := range all {
		at := &all[i]
		slices.SortFunc(at.Runs, func(a, b framing.Run) int { return b.Compare(a) })
		e := entry{key: [keySize]byte(at.Key), run: at.Runs[0], replica: at.Replica}
		if len(at.Runs) > 1 {
			e.others = at.Runs[1:]
		}
		c.said++
		e.said = c.said
		p.names[at.Name] = e
	}
	over := len(p.names) > maxNames
	c.mu.Unlock()
	if over {
		return errFlood
	}
	for i := range all {
		for _, run := range all[i].Runs {
			c.claimed(p.node, relay.Claimed{Name: all[i].Name, Key: all[i].Key, Run: run, Replica: all[i].Replica})
		}
	}
	return nil
}

// claimed tells this node's server of a name on another one.
func (c *Cluster) claimed(node string, at relay.Claimed) {
	if c.Local.ClaimedOnNode(at) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.doubtful) < maxDoubtful {
		c.doubtful[at.Name] = node
	}
}

// settle asks again about names that two identities have on two nodes.
func (c *Cluster) settle() {
	c.mu.Lock()
	if len(c.doubtful) == 0 {
		c.mu.Unlock()
		return
	}
	doubtful := c.doubtful
	c.doubtful = make(map[string]string)
	var again []relay.Claimed
	var nodes []string
	for name, node := range doubtful {
		if p := c.peers[node]; p != nil {
			if e, ok := p.names[name]; ok {
				again, nodes = append(again, e.claimed(name)), append(nodes, node)
			}
		}
	}
	c.mu.Unlock()
	for i, at := range again {
		c.claimed(nodes[i], at)
	}
}

func (e *entry) claimed(name string) relay.Claimed {
	return relay.Claimed{Name: name, Key: ed25519.PublicKey(bytes.Clone(e.key[:])), Run: e.run, Replica: e.replica}
}

// hearDown takes up that names are connected on the node no more.
func (p *peer) hearDown(body []byte) error {
	var all []string
	if err := parseDown(body, func(name string) { all = append(all, name) }); err != nil {
		return err
	}
	if !p.words.take(len(all)) {
		return errFlood
	}
	p.c.stats.add(&p.c.stats.heard, len(all))
	p.c.Local.Remember(all) // before visitors look for them
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	for _, name := range all {
		delete(p.names, name)
	}
	return nil
}

// hearCurrent notes that all of the snapshot has come.
func (p *peer) hearCurrent() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.whole, p.c.changed = true, true
}

// hearLoad notes how much the node has to do.
func (p *peer) hearLoad(l Load) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.load != l {
		p.load, p.c.changed = l, true
	}
}

// gone ends what a connection that is over has told.
func (c *Cluster) gone(p *peer) {
	c.mu.Lock()
	names := p.names
	p.names = nil
	if names == nil { // another call has done it
		c.mu.Unlock()
		return
	}
	if c.peers[p.node] == p {
		delete(c.peers, p.node)
		c.pools.down(p.node)
	}
	if m := c.list[p.node]; m != nil {
		m.why, m.last = p.err, process{p.machine, p.epoch, time.Now()}
	}
	c.changed = true
	c.mu.Unlock()
	c.stats.add(&c.stats.lost, 1)
	c.Local.Remember(slices.Collect(maps.Keys(names)))
	if c.ctx.Err() == nil {
		c.log.Warn("a node is not connected any more", "node", p.node, "names", len(names), "err", p.err)
	}
}

// Find is [relay.Nodes.Find]. Of several nodes it is the one that has the newest run, or
// of replicas one of this node's region, and then one with little to do.
func (c *Cluster) Find(name string, _ bool, except []string) (relay.Place, bool) {
	c.init()
	c.mu.RLock()
	defer c.mu.RUnlock()
	var best candidate
	for _, p := range c.peers {
		e, ok := p.names[name]
		if !ok || slices.Contains(except, p.node) {
			continue
		}
		m := c.list[p.node]
		next := candidate{p, e, m == nil || m.Region != c.About.Region}
		if best.node == nil || next.compare(&best) < 0 {
			best = next
		}
	}
	if best.node == nil {
		return relay.Place{}, false
	}
	return relay.Place{Node: best.node.node, Said: best.has.said, Key: best.has.key}, true
}

// A candidate is a node that has a name, for a new visitor.
type candidate struct {
	node *peer
	has  entry
	far  bool // it is not in this node's region
}

// compare is negative where the visitor had better go to a than to b.
func (a *candidate) compare(b *candidate) int {
	at, other := a.node, b.node
	order := cmp.Or(compareBool(at.load.Leaves, other.load.Leaves), compareBool(at.quiet() > suspectAfter, other.quiet() > suspectAfter))
	if !(a.has.replica && b.has.replica) {
		order = cmp.Or(order, b.has.run.Compare(a.has.run))
	}
	return cmp.Or(order, compareBool(a.far, b.far), cmp.Compare(at.load.Permille/100, other.load.Permille/100), rand.IntN(3)-1)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Miss is [relay.Nodes.Miss].
func (c *Cluster) Miss(at relay.Place, name string) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[at.Node]; p != nil && p.names[name].said == at.Said {
		delete(p.names, name)
	}
}

// Newest is [relay.Nodes.Newest].
func (c *Cluster) Newest(name string) (relay.Claimed, bool) {
	c.init()
	c.mu.RLock()
	defer c.mu.RUnlock()
	newest, found := c.peers.newest(name)
	if !found {
		return relay.Claimed{}, false
	}
	return newest.claimed(name), true
}

// Cut tells all other nodes of a cut that has been made here. It does not wait.
func (c *Cluster) Cut(cut relay.Cut) {
	if cut.Elsewhere {
		return
	}
	c.init()
	r := cutRecord(&cut)
	for _, p := range c.connected() {
		if err := p.send(r); err != nil {
			p.close(err)
		}
	}
}

// hearCut takes up a cut of another node's.
func (p *peer) hearCut(body []byte) error {
	cut, err := parseCut(body)
	if err != nil {
		return err
	}
	select {
	case p.cuts <- cut:
		return nil
	default:
		return errFlood
	}
}

// connected returns the connections with other nodes.
func (c *Cluster) connected() []*peer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Values(c.peers))
}

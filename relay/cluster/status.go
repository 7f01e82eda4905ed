package cluster

import (
	"cmp"
	"slices"
	"time"
)

// A Node is another node of the relay as this one sees it, or this one.
type Node struct {
	Name string
	About
	Load
	Self      bool
	Connected bool
	Since     time.Time     // of the connection
	RTT       time.Duration // 0 while unknown
	Names     int           // that are connected there, by its own word
	Whole     bool          // it has told all of them
	Version   string
	Epoch     uint64
	Listed    bool   // it is in the list of nodes
	Why       string // why it is not connected, or empty
}

// Nodes returns this node and the others, in the order of their names.
func (c *Cluster) Nodes() []Node {
	c.init()
	own := Node{Name: c.Node, About: c.about(), Self: true, Connected: true, Version: c.Version, Epoch: c.Epoch, Listed: true, Whole: true,
		Names: len(c.Local.PresentNames())}
	if c.Load != nil {
		own.Load = c.Load()
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.usurper != nil {
		own.Why, own.Listed = c.usurper.Error(), false
	}
	all := []Node{own}
	for node, m := range c.list {
		n := Node{Name: node, About: m.About, Epoch: m.Epoch, Listed: m.gone.IsZero()}
		if m.why != nil {
			n.Why = m.why.Error()
		}
		if p := c.peers[node]; p != nil {
			n.join(p)
		}
		all = append(all, n)
	}
	for node, p := range c.peers {
		if c.list[node] == nil {
			n := Node{Name: node}
			n.join(p)
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// join adds what the connection with a node says of it.
func (n *Node) join(p *peer) {
	n.Connected, n.Since, n.RTT, n.Load, n.Why = true, p.since, time.Duration(p.rtt.Load()), p.load, ""
	n.Names, n.Whole, n.Version, n.Epoch = len(p.names), p.whole, p.agent, p.epoch
}

// Counts returns how many words for names were said and heard, how many connections with
// nodes have ended, and how many connections of strangers were refused.
func (c *Cluster) Counts() (said, heard, lost, refused int64) {
	c.stats.Lock()
	defer c.stats.Unlock()
	return c.stats.said, c.stats.heard, c.stats.lost, c.stats.refused
}

// tellNodes calls OnNodes where Nodes has changed.
func (c *Cluster) tellNodes() {
	c.mu.Lock()
	changed := c.changed
	c.changed = false
	c.mu.Unlock()
	if changed && c.OnNodes != nil {
		c.OnNodes(c.Nodes())
	}
}

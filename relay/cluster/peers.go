package cluster

import "keystay/framing"

// peers are the nodes that are connected, by their names.
type peers map[string]*peer

// has returns the node on which a run has a name, or nil.
func (all peers) has(name string, run framing.Run) *peer {
	for _, p := range all {
		if e, ok := p.names[name]; ok && e.has(run) {
			return p
		}
	}
	return nil
}

// newest returns what a node has said of a name whose newest run it has.
func (all peers) newest(name string) (newest entry, found bool) {
	for _, p := range all {
		if e, ok := p.names[name]; ok && (!found || e.run.Compare(newest.run) > 0) {
			newest, found = e, true
		}
	}
	return newest, found
}

// below returns the node with the lowest name of those that have a name, if it is lower
// than node, or nil.
func (all peers) below(node, name string) (lowest *peer) {
	for _, p := range all {
		if _, ok := p.names[name]; ok && p.node < node {
			node, lowest = p.node, p
		}
	}
	return lowest
}

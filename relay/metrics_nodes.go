package relay

import "time"

// NodeCounts are what the metrics show of the other nodes of a relay.
type NodeCounts struct {
	Listed    int // that are in the list of nodes, without this one
	Connected int
	Names     int // that are connected on the others, one on two nodes twice

	Said, Heard int64 // words for names
	Lost        int64 // connections with nodes that have ended
	Refused     int64 // connections to the address for nodes that were of none

	CertificateEnds time.Time // of this node's
}

// addNodes adds the metrics of a relay that runs on several machines; counts is nil for
// another one.
func (m meters) addNodes(counts func() NodeCounts) {
	if counts == nil {
		return
	}
	of := func(f func(NodeCounts) float64) func() float64 {
		return func() float64 { return f(counts()) }
	}
	m.gauge("keystay_nodes_listed", "Other nodes of this relay that are in their list.", of(func(c NodeCounts) float64 { return float64(c.Listed) }))
	m.gauge("keystay_nodes_connected", "Other nodes of this relay that this one is connected with.", of(func(c NodeCounts) float64 { return float64(c.Connected) }))
	m.gauge("keystay_nodes_names", "Names that other nodes say are connected there; one on two nodes counts twice.", of(func(c NodeCounts) float64 { return float64(c.Names) }))
	m.gauge("keystay_node_certificate_expiry_seconds", "When this node's certificate ends, in seconds since 1970.", of(func(c NodeCounts) float64 { return float64(c.CertificateEnds.Unix()) }))
	m.counter("keystay_nodes_lost_total", "Connections with other nodes that have ended.", of(func(c NodeCounts) float64 { return float64(c.Lost) }))
	m.counter("keystay_nodes_refused_total", "Connections to the address for nodes that were of no node.", of(func(c NodeCounts) float64 { return float64(c.Refused) }))
	const help = "How often nodes have told each other of a name, this one and, added up, the others."
	m.counterOf("keystay_nodes_words_total", help, "direction", "out", func() int64 { return counts().Said })
	m.counterOf("keystay_nodes_words_total", help, "direction", "in", func() int64 { return counts().Heard })
}

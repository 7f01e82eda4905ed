// Package costs has what things cost on the nodes of a relay, as it was measured on real
// ones.
package costs

import "time"

// Costs are what things cost. Bytes on the wire are those of whole packets,
// acknowledgements among them.
type Costs struct {
	Entry  float64 // bytes of one name in a snapshot between two nodes
	Change float64 // bytes of one name that has come or gone, told to one node by itself
	Beat   float64 // bytes that one node sends another in a second at which nothing happens

	LinkMemory   float64 // bytes of a device's link, at the node that has it
	EntryMemory  float64 // bytes of a name that another node has, at each node
	RecordMemory float64 // bytes of a name in the record, at each node

	LinkTime   time.Duration // processor time of a new link, with its claim, at the node that has it
	EntryTime  time.Duration // processor time of a name that another node tells
	RecordTime time.Duration // processor time of a name in the record, at a node's start

	Grant  time.Duration // from asking for a name that is new until it is given
	Grants float64       // new names a second, at most, of all nodes together
	Kept   float64       // bytes of a name in etcd
	Watch  float64       // bytes between etcd and each node for each name that is new
	Etcd   float64       // bytes a second between etcd and each node at which nothing happens
}

package relay

import (
	"context"
	"errors"

	"keystay/framing"
	"keystay/internal/duplex"
)

// Nodes are the other nodes of a relay that runs on several machines, as this node
// knows them; package relay/cluster has them. Its methods may be called from several
// goroutines, and only Hop and Order wait for the network.
type Nodes interface {
	// Find returns another node on which a name is connected, for a new visitor or for
	// a CA's validation of the name; ok is false where there is none, as far as is
	// known here.
	Find(name string, validation bool) (node string, ok bool)

	// Miss notes that a node has said that it does not have a name: Find does not
	// return it for the name before the node says anew that it has it.
	Miss(node, name string)

	// Newest returns the newest run that has a name on another node; ok is false where
	// there is none.
	Newest(name string) (c Claimed, ok bool)

	// Order begins or ends the turn of a run to order a certificate for a name that it
	// has here as a replica, among all nodes that have the name, and reports whether
	// it is its turn. It may wait for another node, for a second at most.
	Order(name string, run framing.Run, begins bool) bool

	// Ordering returns another node where the run is whose turn that is, so that a CA's
	// validation goes there, whatever is connected here; ok is false where there is
	// none.
	Ordering(name string) (node string, ok bool)

	// Hop brings a visitor to a node, which has its first bytes when Hop returns
	// without an error: the connection carries those that follow, and the caller closes
	// it. The error is [ErrNotThere] where the node does not have the name, a
	// *[HopRefused] where it refuses the visitor, and another one where it cannot be
	// reached: then nobody has seen anything of the visitor.
	Hop(ctx context.Context, node string, h Hop) (duplex.Conn, error)
}

// A Hop is what one node tells another of a visitor that has come to the first, and
// whose remote has its link at the second. A visitor hops once at most.
type Hop struct {
	framing.Header        // as the remote is told it
	Validation     bool   // by a CA: the handshake is all of it
	First          []byte // the visitor's first bytes: its whole hello, or nothing on a TCP port
}

// ErrNotThere is the error of a hop to a node that does not have the name.
var ErrNotThere = errors.New("the node does not have the name")

// A HopRefused is the error of a hop that the other node refuses, as it would refuse
// the visitor if that had come there.
type HopRefused struct {
	Alert uint8 // that the visitor is sent: its number (RFC 8446, section 6)
	Why   string
}

func (e *HopRefused) Error() string { return "the node refuses the visitor: " + e.Why }

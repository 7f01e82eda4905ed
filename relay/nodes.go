package relay

import (
	"context"
	"crypto/ed25519"
	"errors"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/sni"
)

// Nodes are the other nodes of a relay that runs on several machines, as this node
// knows them; package relay/cluster has them. Its methods may be called from several
// goroutines, and only Hop and Order wait for the network.
type Nodes interface {
	// Find returns another node on which a name is connected, for a new visitor or for
	// a CA's validation of the name, and none of those in except; ok is false where
	// there is none, as far as is known here.
	Find(name string, validation bool, except []string) (p Place, ok bool)

	// Turn returns the other node on which a replica of a name has its turn to order a
	// certificate now: the CA's validations go there, also where the name is connected
	// here. Ok is false where there is none.
	Turn(name string) (p Place, ok bool)

	// Miss notes that a node has said that it does not have a name. Find does not
	// return the place for the name any more, unless the node has said anew that it
	// has it since p was found.
	Miss(p Place, name string)

	// Newest returns the newest run that has a name on another node; ok is false where
	// there is none.
	Newest(name string) (c Claimed, ok bool)

	// Order begins or ends the turn of a run to order a certificate for a name that it
	// has here as a replica, among all nodes that have the name, and reports whether
	// it is its turn. It may wait for another node, for a second at most. May is asked
	// before one begins of which all nodes are told: those of its address may be too many.
	Order(name string, run framing.Run, begins bool, may func() bool) bool

	// Hop brings a visitor to a node, which has its first bytes when Hop returns
	// without an error: the connection carries those that follow, and the caller closes
	// it. The host is what the node says of the remote. The error is [ErrNotThere]
	// where the node does not have the name, a *[HopRefused] where it refuses the
	// visitor, and another one where it cannot be reached: then nobody has answered the
	// visitor. It ends with ctx, and has a time limit of its own.
	Hop(ctx context.Context, node string, h Hop) (duplex.Conn, Host, error)
}

// A Place is a node that has said that it has a name.
type Place struct {
	Node string
	Said uint64                      // which of the node's words for the name it was: it grows
	Key  [ed25519.PublicKeySize]byte // of the identity that has the name there; the zero value is not known
}

// A Hop is what one node tells another of a visitor that has come to the first, and
// whose remote has its link at the second. A visitor hops once at most.
type Hop struct {
	framing.Header        // as the remote is told it
	Validation     bool   // by a CA: the handshake, or the question, is all of it
	First          []byte // the visitor's first bytes: its whole hello, or nothing on a TCP port; at most MaxFirst
}

// A Host is the remote that has got a visitor of another node, as its own node knows it.
// Name is not set.
type Host struct {
	Claimed
	Takes bool // it can take the visitor from there, where the header has a lane offer
}

// MaxFirst is the most that a hop may have as a visitor's first bytes.
const MaxFirst = sni.MaxHello

// ErrNotThere is the error of a hop to a node that does not have the name.
var ErrNotThere = errors.New("the node does not have the name")

// A HopRefused is the error of a hop that the other node refuses, as it would refuse
// the visitor if that had come there.
type HopRefused struct {
	Alert uint8  // that the visitor is sent: its number (RFC 8446, section 6)
	Why   string // as the metrics have it
}

func (e *HopRefused) Error() string { return "the node refuses the visitor: " + e.Why }

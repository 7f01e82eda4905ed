package relay

import (
	"net"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/relay/limits"
)

// An admitted connection is one that cut finds, with what the server holds for it.
// All of that is given up in one place, end: so nothing is forgotten, whichever way
// the connection takes.
type admitted struct {
	sockets  *sockets
	conn     net.Conn
	from     *limits.Connection // it counts for its address; may be nil
	visit    *limits.Visit      // it counts for the name and the identity that it visits; may be nil
	name     string             // that it visits, until its bytes are carried
	heard    time.Duration      // when its hello was read, after the server began
	hello    int                // how long that was, with what came with it, in bytes
	place    *pending           // its place among those without an owner; may be nil
	far      duplex.Conn        // for a visitor, until its bytes are carried: a stream, or a connection to another node
	way      way                // how its bytes go
	beyond   duplex.Conn        // the connection to another node that carries them, for cut and abort; guarded by sockets.mu
	fixed    *fixedLead         // where it is led, until it is served there; may be nil
	offered  *offered           // its remote, at another node, may take it from here; may be nil
	crossing *crossing          // it is passed on to a sibling; may be nil
	taking   *taking            // a sibling has passed it on to here; may be nil
	behind   bool               // a PROXY header says who it is
	refusal  *framing.Refusal   // what a remote is told once it has proved its key; nil lets it in
	routing  atomic.Bool        // sockets.routing counts it
}

// A way is how a visitor's bytes go between here and its remote.
type way int

const (
	straight way = iota // this node has both
	hopsOut             // the remote is at another node
	hopsIn              // the visitor has come to another node
)

// A fixedLead is a server of the operator's that a visitor is led to.
type fixedLead struct {
	to    *fixed
	name  string
	hello []byte
}

// cut ends the connection; sockets.mu is held, and sockets.rest is to be told.
func (a *admitted) cut() {
	socket.Abort(a.conn)
	if a.beyond != nil {
		socket.Abort(a.beyond)
	}
}

// routed tells that the connection is where it belongs. It may be called again.
func (a *admitted) routed() {
	if a.routing.Swap(false) {
		a.sockets.routing.done()
	}
}

// end gives up what the server holds for the connection, which is over, or which
// somebody else has taken. It may be called again.
func (a *admitted) end() {
	a.place.end()
	a.from.Close()
	a.visit.End()
	a.offered.end()
	if a.far != nil {
		socket.Abort(a.far)
	}
	a.routed()
	k := a.sockets
	k.mu.Lock()
	_, first := k.conns[a]
	delete(k.conns, a)
	k.mu.Unlock()
	if first {
		a.crossing.end()
		a.taking.end()
		k.wg.Done()
	}
}

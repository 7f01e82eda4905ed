package duplex_test

import (
	"net"
	"testing"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
)

// wrapped hides all of a connection but NetConn.
type wrapped struct {
	net.Conn
	closed *bool
}

func (w wrapped) NetConn() net.Conn { return w.Conn }
func (w wrapped) Close() error      { *w.closed = true; return w.Conn.Close() }

// silentReset has a Reset without a result.
type silentReset struct{ net.Conn }

func (s silentReset) Reset() { s.Conn.(*memconn.Conn).Reset() }

func TestAbort(t *testing.T) {
	far, near := tcpPair(t)
	duplex.Abort(near)
	seesReset(t, far)

	far, near = tcpPair(t)
	duplex.Abort(plain{near})
	seesReset(t, far)

	far, near = tcpPair(t)
	var closed bool
	duplex.Abort(wrapped{wrapped{near, new(bool)}, &closed})
	seesReset(t, far)
	if !closed {
		t.Error("the wrapper was not closed")
	}

	a, b := memconn.Pipe(0)
	duplex.Abort(a)
	wasReset(t, b)

	a, b = memconn.Pipe(0)
	duplex.Abort(silentReset{a})
	wasReset(t, b)
}

package socket_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/memconn"
	"keystay/internal/socket"
	"keystay/internal/testnet"
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

// plain hides all of a connection but net.Conn and what is embedded.
type plain struct{ *net.TCPConn }

// seesReset checks that what c receives ends with a reset.
func seesReset(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("what was received ended with %v, want a reset", err)
	}
	c.Close()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFindLooksThroughWrappers(t *testing.T) {
	a, b := testnet.TCPPair(t)
	tc := tls.Client(wrapped{a, new(bool)}, nil)
	if got, ok := socket.Find[*net.TCPConn](tc); !ok || got != a || socket.Innermost(tc) != net.Conn(a) {
		t.Errorf("found %v, %v", got, ok)
	}
	if got, ok := socket.Find[wrapped](tc); !ok || got.Conn != net.Conn(a) {
		t.Errorf("found %v, %v", got, ok)
	}
	if got, ok := socket.Find[*memconn.Conn](tls.Client(b, nil)); ok {
		t.Errorf("found %v", got)
	}
	if got, ok := socket.Find[*memconn.Conn](wrapped{}); ok {
		t.Errorf("found %v in nothing", got)
	}
}

func TestAbortIsAReset(t *testing.T) {
	far, near := testnet.TCPPair(t)
	socket.Abort(near)
	seesReset(t, far)

	far, near = testnet.TCPPair(t)
	socket.Abort(plain{near})
	seesReset(t, far)

	far, near = testnet.TCPPair(t)
	var closed bool
	socket.Abort(wrapped{wrapped{near, new(bool)}, &closed})
	seesReset(t, far)
	if !closed {
		t.Error("the wrapper was not closed")
	}

	a, b := memconn.Pipe(0)
	socket.Abort(a)
	seesReset(t, b)

	a, b = memconn.Pipe(0)
	socket.Abort(silentReset{a})
	seesReset(t, b)
}

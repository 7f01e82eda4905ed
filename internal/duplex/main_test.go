package duplex_test

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/internal/testnet"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child(os.Getenv(childEnv))
		return
	}
	if os.Getenv(farEnv) != "" {
		far(os.Getenv(farEnv))
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what waits for the network in a test that fails.
const patience = time.Minute

// A rig is a Copy between two TCP connections on loopback, seen from outside.
type rig struct {
	a, b   *net.TCPConn // the far ends
	result chan duplex.Result
}

// plain keeps a TCP connection from being spliced.
type plain struct{ *net.TCPConn }

// paths are the ways in which bytes go between TCP connections.
var paths = map[string]pathway{
	"splice":      {a: bare, b: bare},
	"buffer":      {a: boxed, b: boxed},
	"in":          {a: bare, b: boxed},
	"out":         {a: boxed, b: bare},
	"moved":       {a: bare, b: atOnce},
	"rest":        {a: bare, b: bare, rests: true},
	"rest, in":    {a: bare, b: boxed, rests: true},
	"rest, moved": {a: bare, b: atOnce, rests: true},
}

// A pathway is what Copy gets for the near ends of two connections, or Start, whose
// first direction rests at once where it waits.
type pathway struct {
	a, b  func(*net.TCPConn) duplex.Conn
	rests bool
}

func bare(c *net.TCPConn) duplex.Conn   { return c }
func boxed(c *net.TCPConn) duplex.Conn  { return plain{c} }
func atOnce(c *net.TCPConn) duplex.Conn { return carried{c} }

// carried is a Conn that a TCP connection carries from the start.
type carried struct{ duplex.Conn }

func (c carried) Carrier() (read, write *net.TCPConn) {
	tcp := c.Conn.(*net.TCPConn)
	return tcp, tcp
}

func (c carried) Reset() { socket.Abort(c.Conn) }

func newRig(t *testing.T, p pathway, o duplex.Options) *rig {
	t.Helper()
	r := &rig{result: make(chan duplex.Result, 1)}
	var a, b *net.TCPConn
	r.a, a = tcpPair(t)
	r.b, b = tcpPair(t)
	if p.rests {
		o.Rest = duplex.NewRest(0)
		t.Cleanup(o.Rest.Close)
		duplex.Start(p.a(a), p.b(b), o, func(res duplex.Result) { r.result <- res })
		return r
	}
	go func() { r.result <- duplex.Copy(p.a(a), p.b(b), o) }()
	return r
}

// wait returns what Copy returned.
func (r *rig) wait(t *testing.T) duplex.Result {
	t.Helper()
	select {
	case res := <-r.result:
		return res
	case <-time.After(patience):
		t.Fatal("Copy did not return")
		panic("unreachable")
	}
}

// done checks what Copy returned: the counts, where not negative, and an error
// or none.
func (r *rig) done(t *testing.T, aToB, bToA int64, orderly bool) {
	t.Helper()
	res := r.wait(t)
	wrong := func(got, want int64) bool { return want >= 0 && got != want }
	if wrong(res.AtoB, aToB) || wrong(res.BtoA, bToA) || (res.Err == nil) != orderly {
		t.Errorf("got %+v, want %d and %d bytes, orderly %v", res, aToB, bToA, orderly)
	}
}

func send(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func receive(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatalf("receive: %v", err)
	}
}

// seesEOF checks that c has n more bytes and then an end of stream.
func seesEOF(t *testing.T, c net.Conn, n int64) {
	t.Helper()
	if got, err := io.Copy(io.Discard, c); got != n || err != nil {
		t.Errorf("received %d bytes and then %v, want %d and an end of stream", got, err, n)
	}
}

// seesReset checks that what c receives ends with a reset.
func seesReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("what was received ended with %v, want a reset", err)
	}
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func same(t *testing.T, a, b hash.Hash) {
	t.Helper()
	if !bytes.Equal(a.Sum(nil), b.Sum(nil)) {
		t.Error("what has arrived is not what was sent")
	}
}

// tcpPair returns the two ends of a TCP connection on loopback, the far one with
// a deadline.
func tcpPair(t *testing.T) (far, near *net.TCPConn) {
	t.Helper()
	far, near = testnet.TCPPair(t)
	far.SetDeadline(time.Now().Add(patience))
	return far, near
}

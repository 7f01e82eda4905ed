package publish

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keystay/internal/duplex"
)

const (
	// earlyTime is how long a write of a patientConn that has failed is held back
	// while nothing is read.
	earlyTime = 5 * time.Second
	// settleTime is how long the end of an answer waits to hear from a write
	// under way whether it is one.
	settleTime = 20 * time.Millisecond
)

// A localConn is a connection to the local service. The system tells of a reset only
// once: where it has told a write, the next Read fails with it, too.
type localConn struct {
	duplex.Conn

	reads  atomic.Int64 // how often something was read, or its end
	closed chan struct{}
	close  func() error

	mu    sync.Mutex
	busy  chan struct{} // closed when the write under way has ended; nil if there is none
	reset bool          // a write has heard of a reset, and the next read may not
}

// newLocalConn wraps c. Gone, if it is not nil, is called when it is closed.
func newLocalConn(c duplex.Conn, gone func(*localConn)) *localConn {
	l := &localConn{Conn: c, closed: make(chan struct{})}
	l.close = sync.OnceValue(func() error {
		close(l.closed)
		if gone != nil {
			gone(l)
		}
		return c.Close()
	})
	return l
}

// Write is the connection's. It notes a reset.
func (c *localConn) Write(p []byte) (int, error) {
	busy := make(chan struct{})
	c.mu.Lock()
	c.busy = busy
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	reset := errors.Is(err, syscall.ECONNRESET)
	c.mu.Lock()
	c.busy = nil
	c.reset = c.reset || reset
	c.mu.Unlock()
	close(busy)
	return n, err
}

// A patientConn is a localConn for net/http's transport. A service may answer before it
// has read the request, and close: its system then resets the connection, and the
// transport, seeing a write fail, would drop the answer that has arrived. So a write
// that fails here returns when the answer has been read, or is not coming.
type patientConn struct{ *localConn }

// Write is the connection's, but for what patientConn says.
func (c patientConn) Write(p []byte) (int, error) {
	n, err := c.localConn.Write(p)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		c.awaitAnswer()
	}
	return n, err
}

// awaitAnswer returns when the connection has been closed, or nothing has been
// read for a while.
func (c patientConn) awaitAnswer() {
	timer := time.NewTimer(earlyTime)
	defer timer.Stop()
	for before := c.reads.Load(); ; {
		select {
		case <-c.closed:
			return
		case <-timer.C:
		}
		now := c.reads.Load()
		if now == before {
			return
		}
		before = now
		timer.Reset(earlyTime)
	}
}

// Read is the connection's, but a reset that a write has heard of is no end.
func (c *localConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.reads.Add(1)
	if err == io.EOF && c.wasReset() {
		err = &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Addr: c.RemoteAddr(), Err: syscall.ECONNRESET}
	}
	return n, err
}

// wasReset reports whether a write has heard of a reset. One that is under way
// may be about to.
func (c *localConn) wasReset() bool {
	c.mu.Lock()
	busy := c.busy
	c.mu.Unlock()
	if busy != nil {
		select {
		case <-busy:
		case <-time.After(settleTime):
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset
}

// Close closes the connection, which ends the wait of a patientConn's Write, too.
func (c *localConn) Close() error { return c.close() }

// NetConn is the connection underneath.
func (c *localConn) NetConn() net.Conn { return c.Conn }

var _ interface{ CloseWrite() error } = (*localConn)(nil)

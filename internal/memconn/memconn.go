// Package memconn has connections in memory that behave like TCP, for tests.
//
// Unlike net.Pipe they have a buffer, half-close, resets and addresses, and a
// link can die silently. They block only on sync.Cond and channels, so that
// they work inside a testing/synctest bubble, where a waiting Read counts as
// idle and time moves on.
//
// All the connections and listeners of a test must be made inside its bubble.
package memconn

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is the size in bytes of the buffer of each direction where the
// caller gives none.
const DefaultBuffer = 64 << 10

// A Conn is one end of a connection in memory. It is a [net.Conn] with
// half-close, and its methods may be called from several goroutines at once.
//
// Errors are of type [*net.OpError], as for TCP, except io.EOF.
type Conn struct {
	link *link
	peer *Conn

	// All below is guarded by link.mu.

	buf     bytes.Buffer // received and not yet read
	fin     bool         // the peer sends no more
	reset   bool         // the peer has reset the connection
	closed  bool         // Close or Reset was called here
	shut    bool         // CloseWrite was called here
	writing bool         // a Write is under way; the next one waits
	lost    int          // bytes that fill the send buffer of a cut link

	readDeadline, writeDeadline deadline
	local, remote               net.Addr
}

// A link is what the two ends of a connection share.
type link struct {
	mu      sync.Mutex
	changed sync.Cond // any state of either end
	size    int       // bound in bytes of each direction's buffer
	cut     bool
}

// Pipe returns the two ends of a new connection. Each direction holds up to
// bufSize bytes that were written and not yet read; 0 means [DefaultBuffer].
// The caller closes both ends.
func Pipe(bufSize int) (*Conn, *Conn) {
	if bufSize <= 0 {
		bufSize = DefaultBuffer
	}
	l := &link{size: bufSize}
	l.changed.L = &l.mu
	a, b := &Conn{link: l}, &Conn{link: l}
	a.peer, b.peer = b, a
	a.SetAddrs(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2})
	return a, b
}

// Read reads what the peer has written. After the peer's FIN and the last byte
// it returns io.EOF; after the peer's reset, an error that is
// syscall.ECONNRESET, at once and for good.
func (c *Conn) Read(p []byte) (int, error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.errorLocked("read", net.ErrClosed)
		case c.reset:
			return 0, c.errorLocked("read", syscall.ECONNRESET)
		case c.readDeadline.expired:
			return 0, c.errorLocked("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.buf.Len() > 0:
			n, _ := c.buf.Read(p)
			c.link.changed.Broadcast()
			return n, nil
		case c.fin:
			return 0, io.EOF
		}
		c.link.changed.Wait()
	}
}

// Write puts p into the buffer that the peer reads from and waits while that
// is full. Concurrent writes are not mixed. After CloseWrite it fails with
// syscall.EPIPE; once the peer has closed or reset, with syscall.ECONNRESET.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	mine := false
	for {
		switch {
		case c.closed:
			err = c.errorLocked("write", net.ErrClosed)
		case c.reset:
			err = c.errorLocked("write", syscall.ECONNRESET)
		case c.shut:
			err = c.errorLocked("write", syscall.EPIPE)
		case c.writeDeadline.expired:
			err = c.errorLocked("write", os.ErrDeadlineExceeded)
		case c.writing && !mine:
			c.link.changed.Wait()
			continue
		case len(p) > 0 && c.peer.closed && !c.link.cut:
			// TCP takes these bytes and is answered with a reset. Here the
			// reset is known in time.
			c.resetLocked()
			continue
		default:
			mine, c.writing = true, true
			k := c.sendLocked(p)
			n, p = n+k, p[k:]
		}
		if err != nil || len(p) == 0 {
			if mine {
				c.writing = false
				c.link.changed.Broadcast()
			}
			return n, err
		}
		c.link.changed.Wait()
	}
}

// sendLocked takes as much of p as there is room for.
func (c *Conn) sendLocked(p []byte) int {
	if c.link.cut {
		n := min(len(p), c.link.size-c.lost)
		c.lost += n
		return n
	}
	n := min(len(p), c.link.size-c.peer.buf.Len())
	if n > 0 { // or two writers that wait would wake each other for ever
		c.peer.buf.Write(p[:n])
		c.link.changed.Broadcast()
	}
	return n
}

// CloseWrite sends the FIN: the peer reads io.EOF after what was written.
// Reading here goes on.
func (c *Conn) CloseWrite() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	switch {
	case c.closed:
		return c.errorLocked("close", net.ErrClosed)
	case c.reset:
		return c.errorLocked("close", syscall.ECONNRESET)
	}
	c.shut = true
	c.finLocked()
	return nil
}

// Close ends the connection as TCP does: with a FIN, or with a reset if there
// are received bytes that nobody has read. What was written can still be read
// by the peer after a FIN.
func (c *Conn) Close() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.closeLocked(c.buf.Len() > 0)
}

// Reset closes the connection abruptly, as Close does on a TCP socket with
// SO_LINGER 0. What is buffered in either direction is dropped, and the peer's
// reads and writes fail with syscall.ECONNRESET.
func (c *Conn) Reset() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.closeLocked(true)
}

func (c *Conn) closeLocked(abrupt bool) error {
	if c.closed {
		return c.errorLocked("close", net.ErrClosed)
	}
	c.closed = true
	c.buf.Reset()
	c.readDeadline.stop()
	c.writeDeadline.stop()
	if abrupt && !c.link.cut {
		c.peer.resetLocked()
	}
	c.finLocked()
	return nil
}

// finLocked tells the peer that nothing more comes, if anything gets through.
func (c *Conn) finLocked() {
	if !c.link.cut {
		c.peer.fin = true
	}
	c.link.changed.Broadcast()
}

// resetLocked is the arrival of a reset at c.
func (c *Conn) resetLocked() {
	c.reset = true
	c.buf.Reset()
	c.link.changed.Broadcast()
}

// Cut makes the connection go silent in both directions and for good, as a
// link does whose cable is pulled: nothing that either end does reaches the
// other any more, neither bytes nor FIN nor reset. What had arrived can still
// be read; writes succeed until the send buffer is full and then wait. Unlike
// TCP, which gives up after some minutes, they wait until their deadline.
func (c *Conn) Cut() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.link.cut {
		return
	}
	c.link.cut = true
	c.lost, c.peer.lost = c.peer.buf.Len(), c.buf.Len()
	c.link.changed.Broadcast()
}

// Broken returns an error that is syscall.ECONNRESET once the peer has reset
// the connection, and nil before. Unlike Read it takes nothing and never waits.
func (c *Conn) Broken() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.reset {
		return c.errorLocked("read", syscall.ECONNRESET)
	}
	return nil
}

// Ended reports whether the peer sends no more, also where what it has sent
// before was not read yet. Unlike Read it takes nothing and never waits.
func (c *Conn) Ended() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.fin || c.reset
}

// SetAddrs sets what LocalAddr and RemoteAddr return here, and the same the
// other way round at the peer.
func (c *Conn) SetAddrs(local, remote net.Addr) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.local, c.remote = local, remote
	c.peer.local, c.peer.remote = remote, local
}

// LocalAddr returns this end's address, a made up [*net.TCPAddr] unless
// SetAddrs has set another.
func (c *Conn) LocalAddr() net.Addr {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.local
}

// RemoteAddr returns the peer's address, as LocalAddr.
func (c *Conn) RemoteAddr() net.Addr {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.remote
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.readDeadline, &c.writeDeadline)
}

// SetReadDeadline makes Read fail with os.ErrDeadlineExceeded from t on. The
// zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readDeadline) }

// SetWriteDeadline makes Write fail with os.ErrDeadlineExceeded from t on. The
// zero time means never. A Write that timed out may have written a part.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeDeadline) }

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.errorLocked("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(t, c.link)
	}
	c.link.changed.Broadcast()
	return nil
}

func (c *Conn) errorLocked(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

package framing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"keystay/internal/duplex"
)

// wireBuffer is how much a [BufferedConn] reads or writes at once, in bytes.
const wireBuffer = 128 << 10

// wireBuffers is shared by all connections, as a buffer is held only as long as
// there is something in it.
var wireBuffers = sync.Pool{New: func() any { return new([wireBuffer]byte) }}

// A BufferedConn is a connection below TLS. While much arrives it makes large
// reads of the many small ones of [tls.Conn], which reads about one record at a
// time; and a link can have it gather what is written. It never waits to read
// with a buffer in its hands, so that an idle connection has none.
//
// Its Read is not safe for concurrent use, as tls.Conn calls it.
type BufferedConn struct {
	net.Conn
	raw  syscall.RawConn   // nil where nothing can be read without waiting
	much bool              // there may be more than is asked for
	buf  *[wireBuffer]byte // nil when nothing is buffered
	rest []byte            // of buf, not handed on yet

	take     func(uintptr) bool // fill, which reads into readBuf once
	readBuf  []byte
	readN    int
	readWait bool  // for something to read
	readErr  error // the first
	gathered
}

// NewBufferedConn returns c with large reads, where c is a TCP connection and
// the system has a way to them; else all is as without it.
func NewBufferedConn(c net.Conn) *BufferedConn {
	b := &BufferedConn{Conn: c}
	if tcp, ok := c.(*net.TCPConn); ok && canTake {
		b.raw, _ = tcp.SyscallConn()
		b.take, b.give = b.fill, b.drain
	}
	return b
}

// NetConn returns the connection below.
func (c *BufferedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the direction of the connection below, if it can.
func (c *BufferedConn) CloseWrite() error {
	if d, ok := c.Conn.(duplex.Conn); ok {
		return d.CloseWrite()
	}
	return fmt.Errorf("half-close of a %T: %w", c.Conn, errors.ErrUnsupported)
}

// Read reads what has arrived, and waits if that is nothing.
func (c *BufferedConn) Read(p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 {
		return c.Conn.Read(p)
	}
	if c.buf == nil && c.much && len(p) < wireBuffer {
		if err := c.readMuch(); err != nil {
			return 0, err
		}
	}
	if c.buf == nil {
		n, err := c.fetch(p, true)
		if n == 0 && err == nil {
			err = io.EOF
		}
		c.much = n == len(p)
		return n, err
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.release()
	}
	return n, nil
}

// readMuch fills buf with what there is, without waiting. It leaves the end of
// the connection to a Read, which finds it too.
func (c *BufferedConn) readMuch() error {
	c.buf = wireBuffers.Get().(*[wireBuffer]byte)
	n, err := c.fetch(c.buf[:], false)
	c.rest = c.buf[:n]
	if n == 0 {
		c.release()
	}
	c.much = n >= smuxFrame
	return err
}

func (c *BufferedConn) release() {
	wireBuffers.Put(c.buf)
	c.buf, c.rest = nil, nil
}

// fetch reads from the socket once. At its end, and where nothing has arrived
// and it is not to wait, it returns 0.
func (c *BufferedConn) fetch(p []byte, wait bool) (n int, err error) {
	c.readBuf, c.readN, c.readWait = p, 0, wait
	err = c.raw.Read(c.take)
	c.readBuf = nil
	if err == nil {
		err = c.readErr
	}
	return c.readN, err
}

var _ duplex.Conn = (*BufferedConn)(nil)

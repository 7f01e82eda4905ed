package framing

import (
	"sync"
	"time"
)

// maxGathered is how much may be kept before more is refused, in bytes: several
// times what a link gathers. But TLS itself answers the other side, too, which
// may ask at any rate and take nothing.
const maxGathered = 8 * wireBuffer

// gathered is the writing half of a [BufferedConn]. Between cork and uncork what
// is written stays in memory; otherwise it is written at once. Only the link's
// writer corks and uncorks. Any goroutine may write at any time, as TLS does with
// an alert.
type gathered struct {
	mu      sync.Mutex
	corked  bool
	writing bool              // a goroutine writes, and writes what is added meanwhile, too
	out     []byte            // not written yet
	array   *[wireBuffer]byte // of out, unless it has grown; nil when out is empty

	give  func(uintptr) bool // drain, which writes what of part it can
	part  []byte
	wrote int
	wait  bool
	err   error
}

// Write writes p, or keeps it for uncork. It fails when too much is kept already.
func (c *BufferedConn) Write(p []byte) (int, error) {
	if c.raw == nil {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	if c.corked || c.writing {
		defer c.mu.Unlock()
		if len(c.out) >= maxGathered {
			return 0, errTooMuchQueued
		}
		c.keepLocked(p)
		return len(p), nil
	}
	c.writing = true
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for err == nil && len(c.out) > 0 && !c.corked {
		b := c.out
		c.mu.Unlock()
		_, err = c.Conn.Write(b)
		c.mu.Lock()
		c.wroteLocked(len(b))
	}
	c.writing = false
	return n, err
}

func (c *BufferedConn) keepLocked(p []byte) {
	if c.array == nil {
		c.array = wireBuffers.Get().(*[wireBuffer]byte)
		c.out = c.array[:0]
	}
	c.out = append(c.out, p...)
}

// wroteLocked takes n bytes off out.
func (c *BufferedConn) wroteLocked(n int) {
	if c.out = c.out[n:]; len(c.out) == 0 {
		wireBuffers.Put(c.array)
		c.out, c.array = nil, nil
	}
}

// cork begins to gather.
func (c *BufferedConn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork ends what cork began, and writes what was gathered. With a limit of 0 it
// does not wait: when the socket takes no more, it returns false and stays corked.
// Otherwise each write may take as long as limit.
func (c *BufferedConn) uncork(limit time.Duration) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing { // that goroutine writes what was gathered
		c.corked = false
		return true, nil
	}
	c.writing, c.wait = true, limit > 0
	for len(c.out) > 0 && err == nil {
		c.part = c.out
		c.mu.Unlock()
		if limit > 0 {
			c.Conn.SetWriteDeadline(time.Now().Add(limit))
		}
		c.wrote = 0
		if err = c.raw.Write(c.give); err == nil {
			err = c.err
		}
		c.mu.Lock()
		c.wroteLocked(c.wrote)
		if c.wrote == 0 && !c.wait {
			break
		}
	}
	c.part = nil
	if limit > 0 && err == nil {
		c.Conn.SetWriteDeadline(time.Time{})
	}
	done = len(c.out) == 0
	c.writing, c.corked = false, !done && err == nil
	return done, err
}

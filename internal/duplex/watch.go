package duplex

import (
	"fmt"
	"net"
	"time"
)

// watch starts the timer behind the limits and the search for unseen resets.
// It is a timer and not a goroutine so that an idle connection costs no stack.
func (c *copying) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.next(0), c.check)
}

// check ends the copying if a connection is broken or a limit is reached, and
// sets the timer again otherwise.
func (c *copying) check() {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	err := c.unseen()
	var quiet time.Duration
	if err == nil {
		quiet, err = c.quiet()
	}
	if err == nil {
		c.timer.Reset(c.next(quiet))
	}
	c.mu.Unlock() // before closing, which may be slow
	if err != nil {
		c.end(err)
	}
}

// unseen returns the error of a connection that nobody is reading from.
func (c *copying) unseen() error {
	for _, d := range []*direction{&c.ab, &c.ba} {
		if !d.busy.Load() {
			continue
		}
		if err := broken(d.src); err != nil {
			return fmt.Errorf("copy %s: %w", d.name, err)
		}
	}
	return nil
}

// broken returns why no more can come from c, if that can be known without
// reading.
func broken(c net.Conn) error {
	if c, ok := c.(interface{ Broken() error }); ok {
		return c.Broken()
	}
	c = innermost(c)
	if c, ok := c.(interface{ Broken() error }); ok {
		return c.Broken()
	}
	return socketError(c)
}

// quiet returns how long there was no byte, and an error if that is too long.
func (c *copying) quiet() (time.Duration, error) {
	limit, tooLong := c.limit()
	quiet := time.Since(c.start) - time.Duration(c.last.Load())
	if limit == 0 || quiet < limit {
		return quiet, nil
	}
	// The kernel knows of bytes that no call has returned for yet.
	for _, conn := range []Conn{c.ab.src, c.ba.src} {
		if d, ok := socketQuiet(innermost(conn)); ok {
			quiet = min(quiet, d)
		}
	}
	if quiet < limit {
		return quiet, nil
	}
	return quiet, tooLong
}

// limit returns the limit that counts now, 0 for none, and its error.
func (c *copying) limit() (time.Duration, error) {
	o := c.options
	if o.Linger > 0 && (o.Idle == 0 || o.Linger < o.Idle) && (c.ab.ended.Load() || c.ba.ended.Load()) {
		return o.Linger, ErrLinger
	}
	return o.Idle, ErrIdle
}

// next returns when to check again, after there was no byte for quiet.
func (c *copying) next(quiet time.Duration) time.Duration {
	limit, _ := c.limit()
	if limit == 0 {
		return c.options.Probe
	}
	return min(c.options.Probe, limit-quiet)
}

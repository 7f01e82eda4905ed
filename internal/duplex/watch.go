package duplex

import (
	"fmt"
	"net"
	"time"

	"keystay/internal/socket"
)

// watch makes sure that check runs within Options.Probe. It is called when
// something begins that a Read would not show the end of, and costs one load
// while the timer runs for that already.
//
// The timer is one and not a goroutine so that it costs no stack, and it runs
// only while there is something to see: two idle connections without a limit
// have none.
func (c *copying) watch() {
	if c.watching.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over && !c.watching.Load() {
		c.scheduleLocked(c.untouched())
	}
}

// check ends the copying if a connection is broken or a limit is reached, and
// sets the timer again otherwise, if it is needed.
func (c *copying) check() {
	defer c.options.Panics.Catch("watching a visitor's connection", func() { c.end(errPanicked) })
	if err := c.look(); err != nil {
		c.end(err) // without the lock: closing may be slow
	}
}

// look returns why the copying is to end, or sets the timer again.
func (c *copying) look() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	if err := c.unseen(); err != nil {
		return err
	}
	quiet, err := c.quiet()
	if err == nil {
		c.scheduleLocked(quiet)
	}
	return err
}

// scheduleLocked sets the timer to when to check again, after there was no
// byte for quiet, or to never.
func (c *copying) scheduleLocked(quiet time.Duration) {
	// In this order. A direction that becomes exposed after the second line starts
	// the watch itself.
	c.watching.Store(false)
	exposed := c.ab.exposed() || c.ba.exposed()
	c.watching.Store(exposed)

	wait := time.Duration(-1)
	if limit, _ := c.limit(); limit > 0 {
		wait = max(0, limit-quiet)
	}
	if exposed && (wait < 0 || wait > c.options.Probe) {
		wait = c.options.Probe
	}
	switch {
	case wait < 0:
	case c.timer == nil:
		c.timer = time.AfterFunc(wait, c.check)
	default:
		c.timer.Reset(wait)
	}
}

// unseen returns the error of a connection that nobody is reading from.
func (c *copying) unseen() error {
	for _, d := range []*direction{&c.ab, &c.ba} {
		if !d.exposed() {
			continue
		}
		if err := broken(d.src); err != nil {
			return fmt.Errorf("copy %s: %w", d.name, err)
		}
	}
	return nil
}

// exposed reports whether src can be reset without a Read that sees it.
func (d *direction) exposed() bool {
	return d.busy.Load() || halfMoved(carriers(d.src))
}

// broken returns why no more can come from c, if that can be known without
// reading.
func broken(c net.Conn) error {
	for _, inner := range []net.Conn{c, socket.Innermost(c)} {
		b, ok := inner.(interface{ Broken() error })
		if !ok {
			continue
		}
		if err := b.Broken(); err != nil {
			return err
		}
		if _, ok := c.(carried); !ok {
			return nil
		}
		break
	}
	for _, s := range sockets(c) {
		if err := socket.Failure(s); err != nil {
			return err
		}
	}
	return nil
}

// untouched returns for how long no call has moved a byte.
func (c *copying) untouched() time.Duration {
	return time.Since(c.start) - time.Duration(c.last.Load())
}

// quiet returns how long there was no byte, and an error if that is too long.
func (c *copying) quiet() (time.Duration, error) {
	if c.pausing.Load() > 0 {
		c.touch()
	}
	limit, tooLong := c.limit()
	quiet := c.untouched()
	if limit == 0 || quiet < limit {
		return quiet, nil
	}
	// The kernel knows of bytes that no call has returned for yet.
	for _, conn := range []Conn{c.ab.src, c.ba.src} {
		for _, s := range sockets(conn) {
			if d, ok := socket.Quiet(s); ok {
				quiet = min(quiet, d)
			}
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
	if o.Linger == 0 && o.Unanswered == 0 {
		return o.Idle, ErrIdle
	}
	aEnded := c.ab.srcEnded()
	linger := o.Linger
	if o.Unanswered > 0 && aEnded && c.ba.bytes.Load() == 0 {
		linger = o.Unanswered
	}
	if linger > 0 && (o.Idle == 0 || linger < o.Idle) && (aEnded || c.ba.srcEnded()) {
		return linger, ErrLinger
	}
	return o.Idle, ErrIdle
}

// srcEnded reports whether src has ended: that was passed on, or will be once
// dst has taken what came before.
func (d *direction) srcEnded() bool {
	return d.ended.Load() || d.busy.Load() && Ended(d.from())
}

package duplex

import (
	"time"

	"keystay/internal/socket"
)

// A Pacer says when the bytes of one direction may go. Its methods may be called
// from several goroutines.
type Pacer interface {
	// Reserve takes up to n bytes, n above 0, of what may go, and returns how many
	// and after what wait. Copy waits so long, and meanwhile holds no bytes that a
	// TCP connection could keep. To grant none is that no more may go, ever: the
	// copying ends with ErrSpent then.
	Reserve(n int) (granted int, wait time.Duration)

	// Return gives n bytes of a reservation back, which may be 0, that have not
	// gone.
	Return(n int)
}

// A portion is what a direction has reserved and not moved yet. It is used by the
// goroutine that reads, and only where the bytes are not read before they are
// reserved.
type portion struct {
	bytes int
	wait  time.Duration // before they may go
	spent bool          // no more may go
}

// begin reserves up to n bytes of the socket fd, if none are. It reports whether
// they may go now; otherwise pause waits. Where it takes a wait no more are reserved
// than there are, since others of the same pacer wait for them too.
func (d *direction) begin(n int, fd uintptr) bool {
	if d.pacer == nil || d.portion.bytes > 0 {
		return true
	}
	d.portion.bytes, d.portion.wait = d.pacer.Reserve(n)
	if d.portion.bytes == 0 {
		d.portion.spent = true
		return false
	}
	if d.portion.wait == 0 {
		return true
	}
	if n := max(1, socket.Unread(fd)); n < d.portion.bytes {
		d.pacer.Return(d.portion.bytes - n)
		d.portion.bytes = n
	}
	return false
}

// most is how many of n bytes may go now.
func (d *direction) most(n int) int {
	if d.pacer == nil {
		return n
	}
	return min(n, d.portion.bytes)
}

// moves ends a portion, of which n bytes were taken.
func (d *direction) moves(n int) {
	if d.pacer != nil {
		d.pacer.Return(d.portion.bytes - n)
		d.portion.bytes = 0
	}
}

// waits reports whether the portion may not go yet, or none may any more.
func (p *portion) waits() bool { return p.wait > 0 || p.spent }

// pause waits until the portion may go.
func (d *direction) pause() error {
	if d.portion.spent {
		return ErrSpent
	}
	d.sleep(d.portion.wait)
	d.portion.wait = 0
	return nil
}

// await reserves up to n bytes that are held already, and waits until they may go.
func (d *direction) await(n int) (granted int, err error) {
	granted, wait := d.pacer.Reserve(n)
	if granted == 0 {
		return 0, ErrSpent
	}
	if wait > 0 {
		d.sleep(wait)
	}
	return granted, nil
}

// atOnce reserves n bytes. It reports false, and reserves none, where they may not
// go at once.
func (d *direction) atOnce(n int) bool {
	if d.pacer == nil {
		return true
	}
	granted, wait := d.pacer.Reserve(n)
	if granted == n && wait == 0 {
		return true
	}
	d.pacer.Return(granted)
	return false
}

// sleep waits, or until the copying is over. Meanwhile nobody reads: a reset is
// looked for, and that no byte goes is no fault of the connections.
func (d *direction) sleep(wait time.Duration) {
	d.pausing.Add(1)
	was := d.busy.Load()
	d.setBusy()
	timer := time.NewTimer(wait)
	select {
	case <-timer.C:
	case <-d.ends():
		timer.Stop()
	}
	d.busy.Store(was)
	d.touch()
	d.pausing.Add(-1)
}

// ends returns a channel that is closed when the copying is over.
func (c *copying) ends() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending = make(chan struct{})
		if c.over {
			close(c.ending)
		}
	}
	return c.ending
}

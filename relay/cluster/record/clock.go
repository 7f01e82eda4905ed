package record

import (
	"sync"
	"time"
)

// A clock is the record's time as a node knows it: the greatest that any head had, and
// what has passed since by the monotonic clock. So no machine's wall clock moves it, and
// it never goes back.
type clock struct {
	wall func() time.Time // with a monotonic reading

	mu   sync.Mutex
	base time.Time
	at   time.Time // when it was base
}

// now returns the record's time, in whole seconds.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *clock) nowLocked() time.Time {
	return c.base.Add(c.wall().Sub(c.at)).UTC().Truncate(time.Second)
}

// reach notes that the record's time is at least t.
func (c *clock) reach(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base.IsZero() || t.After(c.nowLocked()) {
		c.base, c.at = t, c.wall()
	}
}

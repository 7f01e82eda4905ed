package framing

import (
	"sync"
	"time"
)

// A condition is what a Read or a Write waits for, at most until its deadline. The
// caller of its methods holds L.
type condition struct {
	sync.Cond
	deadline time.Time   // the zero value is none
	timer    *time.Timer // wakes at the deadline
}

func (c *condition) setDeadline(t time.Time) {
	c.stop()
	c.deadline = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		c.timer = time.AfterFunc(wait, func() {
			c.L.Lock()
			defer c.L.Unlock()
			c.Broadcast()
		})
	}
	c.Broadcast()
}

// stop lets the deadline wake nobody.
func (c *condition) stop() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *condition) timedOut() bool {
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

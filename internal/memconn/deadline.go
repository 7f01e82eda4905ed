package memconn

import "time"

// A deadline is one deadline of a Conn, guarded by the mutex of its link.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// set arms d for the time t, in place of what it was armed for.
func (d *deadline) set(t time.Time, l *link) {
	d.stop()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		// A timer that was replaced while it waited for the lock is void.
		if d.timer == timer {
			d.expired = true
			l.changed.Broadcast()
		}
	})
	d.timer = timer
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

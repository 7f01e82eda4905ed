package remote

import (
	"context"
	"net"
	"sync"
	"time"

	"keystay/framing"
)

const (
	// wakeStep is how often the clock and the network are looked at.
	wakeStep = 3 * time.Second
	// wakeSlack is by how much a step may be longer before it counts as sleep.
	wakeSlack = 2 * time.Second
	// wakeTime is how long after a wake-up a lost link is still dialed again
	// without a pause.
	wakeTime = 10 * time.Second
)

// watch looks out for the end of a sleep and for another network. Both leave
// links that look alive and are not: each is asked for a sign of life at once,
// and who waits to dial again waits no longer.
func (d *Device) watch() {
	w := watcher{clock: systemClock(), network: sourceAddrs}
	w.look()
	tick := time.NewTicker(wakeStep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.cut.Done():
			return
		}
		if reason := w.look(); reason != "" {
			d.log.Info("checking the link", "reason", reason)
			d.wakeUp()
		}
	}
}

// wakeUp checks all links and ends all pauses.
func (d *Device) wakeUp() {
	d.alarm.ring()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.ways {
		w.doors.forget()
		w.nodes.forget()
	}
	for link := range d.links {
		d.wg.Go(func() { _ = link.Probe(framing.ProbeTimeout) })
	}
}

// A watcher compares what it sees with what it saw a step before.
type watcher struct {
	// clock tells the wall clock and the monotonic one. The latter stands
	// still while the machine sleeps, on most systems.
	clock   func() (wall time.Time, mono time.Duration)
	network func() string

	seen bool
	wall time.Time
	mono time.Duration
	net  string
}

// look returns why the links should be checked, or "".
func (w *watcher) look() (reason string) {
	wall, mono := w.clock()
	network := w.network()
	limit := wakeStep + wakeSlack
	switch {
	case !w.seen:
	case wall.Sub(w.wall) > limit || mono-w.mono > limit:
		reason = "this device has slept, or its clock was set"
	case network != w.net:
		reason = "the network has changed"
	}
	w.seen, w.wall, w.mono, w.net = true, wall, mono, network
	return reason
}

// systemClock returns the clock for a watcher.
func systemClock() func() (time.Time, time.Duration) {
	start := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start) // Round drops the monotonic reading
	}
}

// sourceAddrs returns the addresses from which the system would reach the
// internet, by IPv4 and IPv6. Nothing is sent: a UDP socket is only connected,
// to addresses that are for documentation (RFC 5737, RFC 3849) and so take the
// default route.
func sourceAddrs() string {
	var all string
	for _, to := range []string{"192.0.2.1:443", "[2001:db8::1]:443"} {
		c, err := net.Dial("udp", to)
		if err != nil {
			all += "none "
			continue
		}
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			all += a.IP.String() + " "
		}
		c.Close()
	}
	return all
}

// An alarm ends pauses when the device wakes up or is on another network. The
// zero value is ready for use.
type alarm struct {
	mu    sync.Mutex
	count int
	last  time.Time
	next  chan struct{} // closed when it rings; nil when nobody waits
}

// ring ends the pauses.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	a.last = time.Now()
	if a.next != nil {
		close(a.next)
		a.next = nil
	}
}

// rings returns a channel that is closed when the alarm rings next.
func (a *alarm) rings() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil {
		a.next = make(chan struct{})
	}
	return a.next
}

// rang reports whether the alarm has rung not long ago and for the first time
// since *heard, where it counts what was heard.
func (a *alarm) rang(heard *int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	isNew := a.count != *heard && time.Since(a.last) < wakeTime
	*heard = a.count
	return isNew
}

// pause waits for d, but no longer than until the alarm rings, and not at all if
// it rang since *heard. It reports whether the alarm cut it short.
func (a *alarm) pause(ctx context.Context, d time.Duration, heard *int) (cut bool) {
	rings := a.rings()
	if a.rang(heard) {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-rings:
		return a.rang(heard)
	case <-ctx.Done():
	}
	return false
}

// context returns a context that ends when the alarm rings, too, for what an old
// network may hold up.
func (a *alarm) context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	rings := a.rings()
	go func() {
		select {
		case <-rings:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

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
	// rouseTime is how long after a rousal a lost link is still dialed again
	// without a pause.
	rouseTime = 10 * time.Second
)

// watch looks out for the end of a sleep and for another network. Both leave
// links that look alive and are not: each is asked for a sign of life at once,
// and who waits to dial again waits no longer.
func (l *Listener) watch() {
	w := watcher{clock: systemClock(), network: sourceAddrs}
	w.look()
	tick := time.NewTicker(wakeStep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.cut.Done():
			return
		}
		if reason := w.look(); reason != "" {
			l.log.Info("checking the link", "reason", reason)
			l.rouse()
		}
	}
}

// rouse checks all links and ends all pauses.
func (l *Listener) rouse() {
	l.rousal.call()
	l.mu.Lock()
	defer l.mu.Unlock()
	for link := range l.links {
		l.wg.Go(func() { _ = link.Probe(framing.ProbeTimeout) })
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

// A rousal is an event that ends pauses. The zero value is ready for use.
type rousal struct {
	mu    sync.Mutex
	count int
	last  time.Time
	next  chan struct{} // closed at the next call; nil when nobody waits
}

// call makes the event happen.
func (r *rousal) call() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.last = time.Now()
	if r.next != nil {
		close(r.next)
		r.next = nil
	}
}

// coming returns a channel that is closed at the next call.
func (r *rousal) coming() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	return r.next
}

// news reports whether there was a call since *seen, not long ago, and notes
// it there.
func (r *rousal) news(seen *int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.count != *seen && time.Since(r.last) < rouseTime
	*seen = r.count
	return is
}

// pause waits for d, but no longer than to the next call, and not at all if
// there was one since *seen. It reports whether a call cut it short.
func (r *rousal) pause(ctx context.Context, d time.Duration, seen *int) (roused bool) {
	coming := r.coming()
	if r.news(seen) {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-coming:
		return r.news(seen)
	case <-ctx.Done():
	}
	return false
}

// context returns a context that ends at the next call too, for what an old
// network may hold up.
func (r *rousal) context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	coming := r.coming()
	go func() {
		select {
		case <-coming:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

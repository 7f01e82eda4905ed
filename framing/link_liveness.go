package framing

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// PingInterval is how often a remote sends PING.
	PingInterval = 12 * time.Second
	// SilenceLimit is how long a side hears nothing before it gives the link up.
	SilenceLimit = 18 * time.Second
	// ProbeTimeout is how long the other side has for a sign of life where
	// there is a reason to doubt the link.
	ProbeTimeout = 2 * time.Second
	// ackTimeout is how long the system may wait for the other side to
	// acknowledge what was sent: a little less than SilenceLimit, so that a
	// write that waits ends with it.
	ackTimeout = SilenceLimit - time.Second
	// stopped is how late a timer must be to show that this process, or the
	// whole machine, did not run for a while.
	stopped = time.Second
	// maxRTT is the longest round-trip time that is believed: beyond it the
	// link would have been given up.
	maxRTT = SilenceLimit + WriteTimeout
)

// A pulse is how a Link knows whether the other side is there: it sends PING, and
// ends a link that is silent. Its times are after Link.began.
type pulse struct {
	link     *Link
	warmed   bool         // warm was begun; used by the link's reader alone
	lastRead atomic.Int64 // nanoseconds
	rtt      atomic.Int64 // nanoseconds, 0 while unknown

	mu      sync.Mutex
	timer   *time.Timer   // runs check; nil before start, and when the link is over
	due     time.Duration // when
	pingDue time.Duration // when PING is sent; at the remote
	probe   chan struct{} // closed by the answer to Probe; nil when nobody waits
	probed  uint32        // the clock in that Probe's PING
}

// start begins to send PING and to notice silence.
func (p *pulse) start() {
	p.heard()
	first := SilenceLimit
	if !p.link.isRelay {
		first = rand.N(PingInterval) // not in step with all others
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.link.isOver() {
		p.due = p.link.now() + first
		p.pingDue = p.due
		p.timer = time.AfterFunc(first, p.check)
	}
}

// stop ends it, on a link that is over.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// heard notes that something has arrived.
func (p *pulse) heard() { p.lastRead.Store(int64(p.link.now())) }

// Quiet is how long nothing has arrived.
func (l *Link) Quiet() time.Duration { return l.pulse.quiet() }

func (p *pulse) quiet() time.Duration { return p.link.now() - time.Duration(p.lastRead.Load()) }

// RTT is the last round-trip time of a PING, with what it waited behind other
// data, or 0 while none is known. At the relay it is what the remote says.
func (l *Link) RTT() time.Duration { return time.Duration(l.pulse.rtt.Load()) }

// check is run by the timer: it gives up a silent link, and sends PING.
func (p *pulse) check() {
	defer p.link.handler.Panics.Catch("looking after a link", p.link.panicked)
	now := p.link.now()
	p.mu.Lock()
	late := now - p.due
	left := p.pingDue - now
	p.mu.Unlock()
	quiet := p.quiet() // after due, which a PING sets after it was heard
	if quiet >= SilenceLimit && late < stopped {
		p.link.fail(ErrSilent)
		return
	}
	next := SilenceLimit - quiet
	if next <= 0 { // nobody read meanwhile: what has arrived is still to be read
		next = ProbeTimeout
	}
	if !p.link.isRelay {
		if left <= 0 {
			left = PingInterval
			p.sendPing(micros(now))
		}
		next = min(next, left)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pingDue = now + left
	p.checkLocked(now, next)
}

// checkLocked lets check run after d, as long as the link is up.
func (p *pulse) checkLocked(now, d time.Duration) {
	if p.timer != nil {
		p.due = now + d
		p.timer.Reset(d)
	}
}

// sendPing sends PING with the time that it is.
func (p *pulse) sendPing(stamp uint32) {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:4], stamp)
	binary.BigEndian.PutUint32(b[4:], micros(p.link.RTT()))
	p.link.send(appendRecord(nil, recPing, b[:]))
}

// micros is d in microseconds. It wraps around after 71 minutes.
func micros(d time.Duration) uint32 { return uint32(d.Microseconds()) }

// handlePing answers with PONG, without another goroutine where the connection
// takes it at once: one would cost as much as the rest of PING.
func (p *pulse) handlePing(b []byte) error {
	if len(b) != 8 {
		return protocolErrorf("PING of %d bytes", len(b))
	}
	if p.link.isRelay { // so that the timer of a good link never runs
		p.noteRTT(binary.BigEndian.Uint32(b[4:]))
		p.mu.Lock()
		p.checkLocked(p.link.now(), SilenceLimit)
		p.mu.Unlock()
	}
	if !p.link.sender.queue(appendRecord(nil, recPong, b)) {
		return errTooMuchQueued
	}
	p.link.sender.pump()
	return nil
}

func (p *pulse) handlePong(b []byte) error {
	if len(b) != 8 {
		return protocolErrorf("PONG of %d bytes", len(b))
	}
	stamp := binary.BigEndian.Uint32(b)
	p.noteRTT(max(micros(p.link.now())-stamp, 1))
	if !p.warmed && !p.link.isRelay {
		p.warmed = true
		go p.link.warm()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.probe != nil && int32(stamp-p.probed) >= 0 {
		close(p.probe)
		p.probe = nil
	}
	return nil
}

func (p *pulse) noteRTT(us uint32) {
	if d := time.Duration(us) * time.Microsecond; d > 0 && d <= maxRTT {
		p.rtt.Store(int64(d))
	}
}

// Probe asks the other side for a sign of life, and waits for it. The link ends
// with [ErrSilent], which Probe returns, when nothing at all arrives for
// timeout: on a link that is full of data the answer itself may take longer.
// A link that is known for a long round-trip time gets three of these. Probe
// returns nil when the link is alive, else why it ended.
func (l *Link) Probe(timeout time.Duration) error {
	timeout = max(timeout, 3*l.RTT())
	answer := l.pulse.ask()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case <-answer:
			return nil
		case <-l.done:
			return l.Err()
		case <-timer.C:
		}
		left := timeout - l.Quiet()
		if left <= 0 {
			l.fail(ErrSilent)
			return l.Err()
		}
		timer.Reset(left)
	}
}

// ask sends a PING for Probe, and returns the channel that its PONG closes.
func (p *pulse) ask() <-chan struct{} {
	stamp := micros(p.link.now())
	p.mu.Lock()
	if p.probe == nil {
		p.probe = make(chan struct{})
	}
	answer := p.probe
	p.probed = stamp // of several probes, the last one's answer counts for all
	p.mu.Unlock()
	p.sendPing(stamp)
	return answer
}

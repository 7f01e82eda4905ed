package framing

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"keystay/internal/socket"
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
	// unsent is how much the system keeps of what was written to a link and
	// not yet sent, in bytes: all that is written later waits behind it.
	unsent = 256 << 10
	// maxRTT is the longest round-trip time that is believed: beyond it the
	// link would have been given up.
	maxRTT = SilenceLimit + WriteTimeout
)

// A pulse is what a Link knows of whether the other side is there. What is not
// said to be otherwise is guarded by Link.mu.
type pulse struct {
	lastRead atomic.Int64  // nanoseconds after Link.began; guarded by nothing
	rtt      atomic.Int64  // nanoseconds, 0 while unknown; guarded by nothing
	timer    *time.Timer   // runs check
	due      time.Duration // when, after Link.began
	pingDue  time.Duration // when PING is sent; at the remote
	probe    chan struct{} // closed by the answer to Probe; nil when nobody waits
	probed   uint32        // the clock in that Probe's PING
}

// start begins to read, to send PING and to notice silence.
func (l *Link) start() {
	socket.UserTimeout(l.conn, ackTimeout)
	socket.Unsent(l.conn, unsent)
	l.heard()
	first := SilenceLimit
	if !l.isRelay {
		first = rand.N(PingInterval) // not in step with all others
	}
	l.mu.Lock()
	if l.err == nil {
		l.pulse.due = l.now() + first
		l.pulse.pingDue = l.pulse.due
		l.pulse.timer = time.AfterFunc(first, l.check)
		l.over = l.handler.Over
	} else if l.handler.Over != nil {
		go l.handler.Over()
	}
	l.mu.Unlock()
	go l.readLoop()
}

// now is the time since the link began, by the monotonic clock: the wall clock
// may be set at any time.
func (l *Link) now() time.Duration { return time.Since(l.began) }

// heard notes that something has arrived.
func (l *Link) heard() { l.pulse.lastRead.Store(int64(l.now())) }

// Quiet is how long nothing has arrived.
func (l *Link) Quiet() time.Duration { return l.now() - time.Duration(l.pulse.lastRead.Load()) }

// RTT is the last round-trip time of a PING, with what it waited behind other
// data, or 0 while none is known. At the relay it is what the remote says.
func (l *Link) RTT() time.Duration { return time.Duration(l.pulse.rtt.Load()) }

// check is run by the timer: it gives up a silent link, and sends PING.
func (l *Link) check() {
	defer l.handler.Panics.Catch("looking after a link", l.panicked)
	now := l.now()
	l.mu.Lock()
	late := now - l.pulse.due
	left := l.pulse.pingDue - now
	l.mu.Unlock()
	quiet := l.Quiet() // after due, which a PING sets after it was heard
	if quiet >= SilenceLimit && late < stopped {
		l.fail(ErrSilent)
		return
	}
	next := SilenceLimit - quiet
	if next <= 0 { // nobody read meanwhile: what has arrived is still to be read
		next = ProbeTimeout
	}
	if !l.isRelay {
		if left <= 0 {
			left = PingInterval
			l.sendPing(micros(now))
		}
		next = min(next, left)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.pulse.due = now + next
		l.pulse.pingDue = now + left
		l.pulse.timer.Reset(next)
	}
}

// sendPing sends PING with the time that it is.
func (l *Link) sendPing(stamp uint32) {
	var p [8]byte
	binary.BigEndian.PutUint32(p[:4], stamp)
	binary.BigEndian.PutUint32(p[4:], micros(l.RTT()))
	l.send(appendRecord(nil, recPing, p[:]))
}

// micros is d in microseconds. It wraps around after 71 minutes.
func micros(d time.Duration) uint32 { return uint32(d.Microseconds()) }

func (l *Link) handlePing(p []byte) error {
	if len(p) != 8 {
		return protocolErrorf("PING of %d bytes", len(p))
	}
	if l.isRelay {
		l.noteRTT(binary.BigEndian.Uint32(p[4:]))
	}
	return l.answerPing(appendRecord(nil, recPong, p))
}

// answerPing sends PONG, without another goroutine where the connection takes
// it at once: one would cost as much as the rest of PING.
func (l *Link) answerPing(pong []byte) error {
	l.mu.Lock()
	if l.isRelay && l.err == nil { // so that the timer of a good link never runs
		l.pulse.due = l.now() + SilenceLimit
		l.pulse.timer.Reset(SilenceLimit)
	}
	l.mu.Unlock()
	if !l.sender.queue(pong) {
		return errTooMuchQueued
	}
	l.sender.pump()
	return nil
}

func (l *Link) handlePong(p []byte) error {
	if len(p) != 8 {
		return protocolErrorf("PONG of %d bytes", len(p))
	}
	stamp := binary.BigEndian.Uint32(p)
	l.noteRTT(max(micros(l.now())-stamp, 1))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulse.probe != nil && int32(stamp-l.pulse.probed) >= 0 {
		close(l.pulse.probe)
		l.pulse.probe = nil
	}
	return nil
}

func (l *Link) noteRTT(us uint32) {
	if d := time.Duration(us) * time.Microsecond; d > 0 && d <= maxRTT {
		l.pulse.rtt.Store(int64(d))
	}
}

// Probe asks the other side for a sign of life, and waits for it. The link ends
// with [ErrSilent], which Probe returns, when nothing at all arrives for
// timeout: on a link that is full of data the answer itself may take longer.
// A link that is known for a long round-trip time gets three of these. Probe
// returns nil when the link is alive, else why it ended.
func (l *Link) Probe(timeout time.Duration) error {
	timeout = max(timeout, 3*l.RTT())
	stamp := micros(l.now())
	l.mu.Lock()
	if l.pulse.probe == nil {
		l.pulse.probe = make(chan struct{})
	}
	answer := l.pulse.probe
	l.pulse.probed = stamp // of several probes, the last one's answer counts for all
	l.mu.Unlock()
	l.sendPing(stamp)
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

// A meter counts the points of section 4, "Floods", of PROTOCOL.md. The zero
// value is full.
type meter struct {
	used float64
	at   time.Duration
}

const (
	// controlBurst is how many points there are for link records other than MUX.
	controlBurst = 400
	// controlRate is how many of them grow back in a second.
	controlRate = 20
)

// cost is how many points a link record takes.
func cost(t recordType) float64 {
	switch t {
	case recGoAway:
		return 20
	case recClaim, recRelease:
		return 5
	case recLaneReset: // counted by handleLaneReset
		return 0
	}
	return 1
}

// take takes the points for a record that arrives at the given time.
func (m *meter) take(t recordType, now time.Duration) error {
	m.used = max(0, m.used-controlRate*(now-m.at).Seconds()) + cost(t)
	m.at = now
	if m.used > controlBurst {
		return protocolErrorf("a flood of control records, the last one 0x%02x", t)
	}
	return nil
}

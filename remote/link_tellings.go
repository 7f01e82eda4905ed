package remote

import (
	"sync"
	"time"
)

// A relay says in its own words why it denies a name, and may say something else each time,
// or give the name and take it back, or move its URL, or end TLS and WebSockets in turn: of each
// of these toldBurst lines are told at once, and then one in each toldInterval. What is not
// told then is told later, if it is still so: the log's last word is true.
const (
	toldBurst    = 16
	toldInterval = 10 * time.Minute
)

// Links may come and go for ever: of a way lineBurst lines are told of that at once, and then
// one in each lineInterval. A link that comes up is told where the loss before it was, and an
// outage that was not told when it began is told once there may be a line again: so the last
// word is true here, too.
const (
	lineBurst    = 32
	lineInterval = 5 * time.Minute
)

// tellings bound what the log is told of a relay and its links, and keep its last word true.
type tellings struct {
	after func(wait time.Duration, do func()) // does something later, unless the way has ended
	wants func(l *Listener) bool              // reports whether the way is still to claim a name
	has   func(l *Listener) bool              // reports whether a link of the way has a name

	mu       sync.Mutex // held while the log is told of a name, so that its last word is the last
	lines    allowance  // of links that come and go
	lossTold bool       // the log was told of a loss, and of no link that came up since
	names    map[*Listener]*told
	path     told // to the relay
}

// A standing is what a relay says of a name, or how it is with something else; zero is nothing
// that was told.
type standing struct {
	given bool
	why   string // not; or how it is
}

// A told is what the log was told of a name, or of something else that a relay may change as it
// likes. It is guarded by a lock that is held while the log is told.
type told struct {
	is, last standing // now, and as it was told
	tell     func()   // tells what is now, while last is as it was
	waits    bool     // for the time when more may be told
	lines    allowance
}

// name notes what the relay says of a name, and tells the log of it where that is new. Of one
// that the way is not to claim any more nothing is: of several links one may hear later than
// the others that the name was refused for good, which is the last word of it.
func (t *tellings) name(l *Listener, is standing, tell func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nameLocked(l, is, tell)
}

// denied is name for a link that was denied a name. It is given all the same where another
// link has it; own is that this one has it, with the rules from before.
func (t *tellings) denied(l *Listener, own bool, why string, tell func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own || !t.has(l) {
		t.nameLocked(l, standing{why: why}, tell)
	}
}

func (t *tellings) nameLocked(l *Listener, is standing, tell func()) {
	if t.wants(l) {
		t.ofLocked(l).setLocked(is, tell, &t.mu, t.after)
	}
}

// reached notes how the relay was reached, and tells the log of it where that is new.
func (t *tellings) reached(is standing, tell func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.path.setLocked(is, tell, &t.mu, t.after)
}

// given notes that the log was told that the relay gives names.
func (t *tellings) given(given []*Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range given {
		if t.wants(l) {
			n := t.ofLocked(l)
			n.is = standing{given: true}
			n.last = n.is
		}
	}
}

// isDenied reports whether the relay does not give a name, as it said last.
func (t *tellings) isDenied(l *Listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.names[l]
	return n != nil && n.is.why != ""
}

// forget forgets a listener that wants the relay no more.
func (t *tellings) forget(l *Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.names[l]; n != nil {
		n.is = n.last // there is nothing more to tell
		delete(t.names, l)
	}
}

func (t *tellings) ofLocked(l *Listener) *told {
	if t.names == nil {
		t.names = make(map[*Listener]*told)
	}
	if t.names[l] == nil {
		t.names[l] = new(told)
	}
	return t.names[l]
}

// setLocked notes what is now, and tells the log where that is new, or does so after a while. It
// is called with the lock mu, and so is what after does later.
func (n *told) setLocked(is standing, tell func(), mu sync.Locker, after func(time.Duration, func())) {
	n.is, n.tell = is, tell
	n.tellLocked(mu, after)
}

func (n *told) tellLocked(mu sync.Locker, after func(time.Duration, func())) {
	if n.is == n.last || n.waits {
		return
	}
	wait := n.lines.take(toldBurst, toldInterval)
	if wait == 0 {
		n.tell()
		n.last = n.is
		return
	}
	n.waits = true
	after(wait, func() {
		mu.Lock()
		defer mu.Unlock()
		n.waits = false
		n.tellLocked(mu, after)
	})
}

// tellsLoss reports whether the log tells of a link that was lost or did not come up.
func (t *tellings) tellsLoss(o *outage, why string, wasUp bool) bool {
	if o.isOver() && !t.takesLine() || !o.tells(why, wasUp) {
		return false
	}
	t.noteLoss()
	return true
}

// noteLoss notes that the log was told of a link that was lost.
func (t *tellings) noteLoss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lossTold = true
}

// tellsUp reports whether the log tells of a link that has come up.
func (t *tellings) tellsUp() bool {
	t.mu.Lock()
	after := t.lossTold
	t.lossTold = false
	t.mu.Unlock()
	return after || t.takesLine()
}

// takesLine reports whether there may be one more line of links that come and go.
func (t *tellings) takesLine() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines.take(lineBurst, lineInterval) == 0
}

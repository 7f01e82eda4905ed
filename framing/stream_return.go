package framing

import (
	"encoding/binary"
	"sync"
	"time"
)

// CapabilityReturn is a bit of the Capabilities in Hello and in Welcome: the remote gives
// unused credit back, and the relay takes it back (PROTOCOL.md, section 6).
const CapabilityReturn = 1 << 1

// returnAfter is how long a stream must have sent nothing and been granted nothing
// before the credit that it has beyond InitialCredit is given back. That happens before
// twice this time is over.
const returnAfter = 2 * time.Second

// returns gives back the credit that streams of a remote's link do not use. Its timer
// runs only while a stream has such credit.
type returns struct {
	link   *Link
	agreed bool // both sides have named CapabilityReturn; fixed from the start

	mu    sync.Mutex
	timer *time.Timer // runs look; nil before the first credit, and when the link is over
	runs  bool        // the timer is set
}

// watch sees to it that look runs, since a stream has got credit.
func (r *returns) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.runs || r.link.isOver():
		return
	case r.timer == nil:
		r.timer = time.AfterFunc(returnAfter, r.look)
	default:
		r.timer.Reset(returnAfter)
	}
	r.runs = true
}

// stop ends it, on a link that is over.
func (r *returns) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

// look is run by the timer: it gives back what has been left unused since it ran last.
func (r *returns) look() {
	defer r.link.handler.Panics.Catch("giving credit back", r.link.panicked)
	r.mu.Lock()
	r.runs = false
	r.mu.Unlock()
	more := false
	for _, s := range r.link.streams.snapshot() {
		more = s.giveBack() || more
	}
	if more {
		r.watch()
	}
	r.link.sender.pump()
}

// giveBack queues RETURN for the credit that the stream has left unused since the last
// call. It reports whether there is still some to be given back later.
func (s *Stream) giveBack() (later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	spare := o.credit - InitialCredit
	if spare <= 0 || s.send != halfOpen || s.overLocked() {
		return false
	}
	if !o.unused || len(o.frames) > 0 || o.ready {
		o.unused = true
		return true
	}
	o.credit -= spare
	o.returned++
	o.record(s.id, recReturn, binary.BigEndian.AppendUint32(nil, uint32(spare)))
	s.readyLocked()
	return false
}

// returns reports whether RETURN may come.
func (s *Stream) returns() bool { return s.link.returns.agreed && s.link.isRelay }

// returned is RETURN from the other side.
func (s *Stream) returned(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == 0 || n > MaxCredit || !s.in.win.returned(int(n)) {
		return protocolErrorf("RETURN of %d bytes of credit, which the other side has not", n)
	}
	return nil
}

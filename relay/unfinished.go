package relay

import (
	"container/list"
	"errors"
	"math/bits"
	"sync"

	"keystay/internal/socket"
	"keystay/sni"
)

// unfinishedBase is what each connection without an owner counts for, beside the
// buffer of its hello, in bytes: its goroutine and what belongs to it.
const unfinishedBase = 4 << 10

// unfinished is the memory of connections that have no owner: those whose hello
// is not whole, those that wait for a remote, those for the relay's own name until
// a link's HELLO has proved a key or a lane has found its link, and those over
// which HTTP is spoken with the relay itself, until they end. Where it is used up
// the one that holds most goes, of several the one that came first. What holds less
// than alike bytes counts as the same: a link holds more than a hello by what it
// is, and connections on which nothing comes must not keep links away. A hello that
// would hold most itself goes instead.
type unfinished struct {
	limit int

	mu   sync.Mutex
	used int
	peak int
	// sizes has the connections by their class, the oldest first.
	sizes [8]list.List
	ended int64 // how many had to go
}

// errNoRoom is the error of a connection that had to go, so that others have room.
var errNoRoom = errors.New("too much memory is held by connections without an owner")

// A pending is one connection without an owner.
type pending struct {
	all  *unfinished
	conn sni.Conn

	// Guarded by all.mu.
	size   int
	at     *list.Element // nil when it is not of all any more
	pushed chan struct{} // closed when it has to go; nil unless somebody waits for that
	gone   bool          // it had to go
}

// alike is below which size, in bytes, connections are of one class: with the
// handshake and the HTTP/1.1 of one for the relay itself.
const alike = 64 << 10

// class is 0 below alike, and one more with each doubling from there.
func class(size int) int { return min(bits.Len(uint(size/alike)), 7) }

// begin counts a connection with a buffer of n bytes. It returns nil where there
// is no room.
func (u *unfinished) begin(c sni.Conn, n int) *pending {
	p := &pending{all: u, conn: c}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.moveLocked(p, unfinishedBase+n, class(unfinishedBase+n)) {
		return nil
	}
	return p
}

// beginHere is begin for a connection that is for the relay itself.
func (u *unfinished) beginHere(c sni.Conn, n int) *pending {
	p := u.begin(c, 0)
	if p.here(n) != nil {
		p.end()
		return nil
	}
	return p
}

// grow counts that the buffer of p will have n bytes.
func (p *pending) grow(n int) error { return p.move(n, class(unfinishedBase+n)) }

// here counts that p is for the relay itself and holds n bytes, which may be fewer
// than before.
func (p *pending) here(n int) error { return p.move(n, 0) }

func (p *pending) move(n, least int) error {
	if p == nil {
		return errNoRoom
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if p.at == nil || !p.all.moveLocked(p, unfinishedBase+n, least) { // it had to go, or is over
		return errNoRoom
	}
	return nil
}

// moveLocked makes p count for size bytes, if there is room or can be made by
// others of class least or above.
func (u *unfinished) moveLocked(p *pending, size, least int) bool {
	for u.used-p.size+size > u.limit {
		if !u.pushLocked(p, least) {
			return false
		}
	}
	u.takeLocked(p)
	u.used += size
	u.peak = max(u.peak, u.used)
	p.size = size
	p.at = u.sizes[class(size)].PushBack(p)
	return true
}

// pushLocked makes the oldest of the largest connections go, if it is of class
// least or above and not p.
func (u *unfinished) pushLocked(p *pending, least int) bool {
	for c := len(u.sizes) - 1; c >= least; c-- {
		e := u.sizes[c].Front()
		if e != nil && e.Value == any(p) {
			e = e.Next()
		}
		if e == nil {
			continue
		}
		victim := e.Value.(*pending)
		u.takeLocked(victim)
		u.ended++
		victim.gone = true
		if victim.pushed != nil {
			close(victim.pushed)
		}
		socket.Abort(victim.conn) // a deadline would be set anew by whoever serves it
		return true
	}
	return false
}

// takeLocked ends that p counts.
func (u *unfinished) takeLocked(p *pending) {
	if p.at != nil {
		u.sizes[class(p.size)].Remove(p.at)
		u.used -= p.size
		p.at, p.size = nil, 0
	}
}

// end ends that p counts. It reports whether it had to go.
func (p *pending) end() (gone bool) {
	if p == nil {
		return false
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	p.all.takeLocked(p)
	return p.gone
}

// pushedOut returns a channel that is closed when p has to go.
func (p *pending) pushedOut() <-chan struct{} {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if p.pushed == nil {
		p.pushed = make(chan struct{})
		if p.gone {
			close(p.pushed)
		}
	}
	return p.pushed
}

// usage returns what is held now, the most that was, and how many had to go.
func (u *unfinished) usage() (used, peak int, ended int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.used, u.peak, u.ended
}

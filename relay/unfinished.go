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
// is, and connections on which nothing comes must not keep links away. Of these the
// oldest goes, or where one network has more than a part of them, the oldest of the
// network that has most: some hosts that open connections all the time push each
// other out, and nobody whose hello is on its way. A hello that would hold most
// itself goes instead.
type unfinished struct {
	limit int

	mu   sync.Mutex
	used int
	peak int
	// sizes has the connections by their class, the oldest first. Those of class 0
	// are in near, too, by their network, and networks counts them.
	sizes    [8]list.List
	near     map[string]*list.List
	networks tally
	ended    int64 // how many had to go
}

// errNoRoom is the error of a connection that had to go, so that others have room.
var errNoRoom = errors.New("too much memory is held by connections without an owner")

// A pending is one connection without an owner.
type pending struct {
	all  *unfinished
	conn sni.Conn

	network string // that it comes from

	// Guarded by all.mu.
	size   int
	at     *list.Element // nil when it is not of all any more
	near   *list.Element // in all.near; nil above class 0
	pushed chan struct{} // closed when it has to go; nil unless somebody waits for that
	gone   bool          // it had to go
}

// alike is below which size, in bytes, connections are of one class: with the
// handshake and the HTTP/1.1 of one for the relay itself.
const alike = 64 << 10

// greedy: a network that has more than one part in so many of the connections of
// class 0 gives one of its own up first.
const greedy = 32

// class is 0 below alike, and one more with each doubling from there.
func class(size int) int { return min(bits.Len(uint(size/alike)), 7) }

// begin counts a connection with a buffer of n bytes. It returns nil where there
// is no room.
func (u *unfinished) begin(c sni.Conn, n int) *pending {
	p := &pending{all: u, conn: c, network: network(addrPort(c.RemoteAddr()).Addr()).String()}
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
	was := p.size
	u.takeLocked(p)
	for u.used+size > u.limit {
		if !u.pushLocked(least) {
			u.putLocked(p, was)
			return false
		}
	}
	u.putLocked(p, size)
	return true
}

// pushLocked makes one of the largest connections go, if it is of class least or
// above.
func (u *unfinished) pushLocked(least int) bool {
	for c := len(u.sizes) - 1; c >= least; c-- {
		e := u.sizes[c].Front()
		if name, most := u.networks.largest(); c == 0 && most > u.networks.sum/greedy {
			e = u.near[name].Front()
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

// putLocked makes p count for size bytes, for which there is room; 0 is not to
// count.
func (u *unfinished) putLocked(p *pending, size int) {
	if size == 0 {
		return
	}
	u.used += size
	u.peak = max(u.peak, u.used)
	p.size = size
	p.at = u.sizes[class(size)].PushBack(p)
	if class(size) > 0 {
		return
	}
	l := u.near[p.network]
	if l == nil {
		if u.near == nil {
			u.near = make(map[string]*list.List)
		}
		l = list.New()
		u.near[p.network] = l
	}
	p.near = l.PushBack(p)
	u.networks.add(p.network, 1)
}

// takeLocked ends that p counts.
func (u *unfinished) takeLocked(p *pending) {
	if p.at == nil {
		return
	}
	u.sizes[class(p.size)].Remove(p.at)
	u.used -= p.size
	p.at, p.size = nil, 0
	if p.near == nil {
		return
	}
	l := u.near[p.network]
	if l.Remove(p.near); l.Len() == 0 {
		delete(u.near, p.network)
	}
	p.near = nil
	u.networks.add(p.network, -1)
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

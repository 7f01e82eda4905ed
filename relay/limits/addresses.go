package limits

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keystay/internal/socket"
)

// Addresses bound what one address may have of a relay, see [Address]. The zero
// value has the defaults. Its methods may be called from any goroutine.
type Addresses struct {
	// Counts are how often each limit was met.
	Counts Counts

	// CountIn, if it is set before all else, has these instead of Counts.
	CountIn *Counts

	mu          sync.Mutex
	began       time.Time
	exempt      []netip.Prefix
	may         [2]allowance // what the least prefix may have, and what a site may
	connections int          // that count now, links left out
	conns       *table
	claims      *table // of those that have asked for something new: visitors do not push these out
}

// An allowance is what one prefix may have: see entry, whose fields have these names.
type allowance struct {
	connections, hellos, links                 int
	came, shook, joined, named, proved, turned pass
}

// tells is how often a remote is told in words that its address makes too many
// handshakes, since that takes one more handshake.
func tells() pass { return pass{each: int64(time.Second), burst: 1} }

// Set makes c count from now on. What is there already stays.
func (a *Addresses) Set(c Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(c)
}

func (a *Addresses) setLocked(c Config) {
	if a.conns == nil {
		a.began, a.conns, a.claims = time.Now(), newTable(maxEntries), newTable(maxEntries)
	}
	c = c.WithDefaults()
	a.exempt = slices.Clone(c.Exempt)
	for i, times := range []int{1, SiteFactor} {
		d := c.Address
		a.may[i] = allowance{
			connections: d.Connections * times, hellos: d.Hellos * times, links: d.Links * times,
			came: passOf(d.ConnectionRate, times, d.Connections), shook: passOf(d.LinkRate, times, d.Links),
			joined: passOf(d.Identities, times, 0), named: passOf(d.Names, times, 0), proved: passOf(d.Domains, times, 0),
			turned: passOf(turnRate, times, turnsAtOnce),
		}
	}
}

func (a *Addresses) counts() *Counts {
	if a.CountIn != nil {
		return a.CountIn
	}
	return &a.Counts
}

// readyLocked makes the zero value ready, and returns the time on its clock.
func (a *Addresses) readyLocked() int64 {
	if a.conns == nil {
		a.setLocked(Config{})
	}
	return int64(time.Since(a.began))
}

// mayOf returns what a prefix may have.
func (a *Addresses) mayOf(p prefix) *allowance {
	if p.bits == 48 {
		return &a.may[1]
	}
	return &a.may[0]
}

func (a *Addresses) exemptLocked(addr netip.Addr) bool {
	return !addr.IsValid() || slices.ContainsFunc(a.exempt, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Exempt reports whether nothing counts for an address.
func (a *Addresses) Exempt(addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.readyLocked()
	return a.exemptLocked(addr.Unmap().WithZone(""))
}

// A Connection is one that counts for its address. A nil Connection counts nothing:
// it is from an exempt address.
type Connection struct {
	of         *Addresses
	conn       net.Conn
	at         [2]*entry // n entries that it counts for, the least prefix first
	bits       [2]uint8  // of the prefixes, which an overflow account does not have
	n          int
	state      state
	prev, next *Connection // of at[0], those with unfinished hellos
}

// The states of a connection.
type state uint8

const (
	greeting state = iota // its hello is unfinished
	open
	link
	gone
)

// Connect counts a new connection with an unfinished hello. With a reason it does
// not count, and is to be closed. It may close another one of the same address
// instead, whose hello has been unfinished for longer.
func (a *Addresses) Connect(c net.Conn) (*Connection, Reason) {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, None
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	n, victim, why := a.connect(c, addr)
	if victim != nil {
		a.counts().Add(AddressHellos)
		socket.Abort(victim)
	}
	if why != None {
		a.counts().Add(why)
	}
	return n, why
}

func (a *Addresses) connect(c net.Conn, addr netip.Addr) (n *Connection, victim net.Conn, why Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.readyLocked()
	if a.exemptLocked(addr) {
		return nil, nil, None
	}
	n = &Connection{of: a, conn: c}
	var list [2]prefix
	list, n.n = prefixesOf(addr)
	for i, p := range list[:n.n] {
		n.at[i], n.bits[i] = a.conns.find(p, now), p.bits
	}
	if why = n.admitLocked(now); why == None {
		if first := n.at[0].first; first != nil && over(int(n.at[0].hellos), a.may[0].hellos) {
			victim = first.conn
			first.finishLocked()
		}
		n.countLocked(1)
		n.greetLocked()
	}
	for _, e := range n.at[:n.n] {
		a.conns.settle(e)
	}
	if why != None {
		return nil, nil, why
	}
	return n, victim, None
}

// admitLocked says why n may not come, and takes its part of the rate otherwise.
func (n *Connection) admitLocked(now int64) Reason {
	for i, e := range n.at[:n.n] {
		may := n.of.mayOf(prefix{bits: n.bits[i]})
		switch {
		case over(int(e.connections), may.connections):
			return AddressConnections
		case e.came.after(now, may.came) > 0:
			return AddressRate
		case i > 0 && over(int(e.hellos), may.hellos):
			return AddressHellos
		}
	}
	for i, e := range n.at[:n.n] {
		e.came.take(now, n.of.mayOf(prefix{bits: n.bits[i]}).came)
	}
	return None
}

func (n *Connection) countLocked(d int32) {
	if n.state != link {
		n.of.connections += int(d)
	}
	for _, e := range n.at[:n.n] {
		if n.state == link {
			e.links += d
		} else {
			e.connections += d
		}
	}
}

// greetLocked puts n among those with unfinished hellos.
func (n *Connection) greetLocked() {
	for _, e := range n.at[:n.n] {
		e.hellos++
	}
	e := n.at[0]
	if n.prev = e.last; n.prev != nil {
		n.prev.next = n
	} else {
		e.first = n
	}
	e.last = n
}

// finishLocked takes n from there.
func (n *Connection) finishLocked() {
	if n.state != greeting {
		return
	}
	n.state = open
	for _, e := range n.at[:n.n] {
		e.hellos--
	}
	e := n.at[0]
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		e.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		e.last = n.prev
	}
	n.prev, n.next = nil, nil
}

// Greeted says that the hello is whole, or will not be.
func (n *Connection) Greeted() {
	if n == nil {
		return
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.finishLocked()
}

// Handshake counts the handshake of a link. With a reason it is one too many; tell
// then says that this one may go on all the same, so that the remote can be told in
// words: one a second may.
func (n *Connection) Handshake() (why Reason, tell bool) {
	if n == nil {
		return None, false
	}
	a := n.of
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.readyLocked()
	for i, e := range n.at[:n.n] {
		if e.shook.after(now, a.mayOf(prefix{bits: n.bits[i]}).shook) > 0 {
			a.Counts.Add(AddressHandshakes)
			if tell = n.at[0].told.after(now, tells()) == 0; tell {
				n.at[0].told.take(now, tells())
			}
			return AddressHandshakes, tell
		}
	}
	for i, e := range n.at[:n.n] {
		e.shook.take(now, a.mayOf(prefix{bits: n.bits[i]}).shook)
	}
	return None, false
}

// Link makes the connection a link. With a reason it may not become one.
func (n *Connection) Link() Reason {
	if n == nil {
		return None
	}
	a := n.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if n.state == gone {
		return None
	}
	for i, e := range n.at[:n.n] {
		if over(int(e.links), a.mayOf(prefix{bits: n.bits[i]}).links) {
			a.Counts.Add(AddressLinks)
			return AddressLinks
		}
	}
	n.finishLocked()
	n.countLocked(-1)
	n.state = link
	n.countLocked(1)
	return None
}

// Close ends that n counts: the connection is over, or has become a lane, which is
// its stream's. It may be called several times.
func (n *Connection) Close() {
	if n == nil {
		return
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	if n.state == gone {
		return
	}
	n.finishLocked()
	n.countLocked(-1)
	n.state, n.conn = gone, nil
	for _, e := range n.at[:n.n] {
		n.of.conns.settle(e)
	}
}

// Connections returns how many connections count now, links left out.
func (a *Addresses) Connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.connections
}

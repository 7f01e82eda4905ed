package limits

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"

	"keystay/internal/publicaddr"
)

const (
	// maxEntries is how many prefixes one table knows. Prefixes beyond it, while all of
	// these are busy, share overflows accounts.
	maxEntries = 1 << 16
	overflows  = 256
	// tidy is how many entries at most are forgotten each time that one is looked for,
	// of those with which nothing is lost.
	tidy = 2
)

// A prefix is an address of IPv4 (32 bits), or a network of IPv6 of 64 or 48 bits.
type prefix struct {
	net  uint64 // its first 64 bits; those of an address of IPv4 are the last 32
	bits uint8
}

// prefixesOf returns the prefixes that an address counts for: the least first.
func prefixesOf(a netip.Addr) (list [2]prefix, n int) {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return [2]prefix{{uint64(binary.BigEndian.Uint32(b[:])), 32}}, 1
	}
	b := a.As16()
	net := binary.BigEndian.Uint64(b[:])
	return [2]prefix{{net, 64}, {net &^ 0xffff, 48}}, 2
}

// coarse is the network that shares an overflow account: 16 bits of IPv4, 32 of
// IPv6.
func (p prefix) coarse() prefix {
	if p.bits == 32 {
		return prefix{p.net &^ 0xffff, 16}
	}
	return prefix{p.net &^ 0xffffffff, p.bits}
}

// An entry is what a table knows of one prefix. It is guarded by the table's owner.
type entry struct {
	prefix
	shared     bool   // an overflow account
	counted    bool   // in table.busy
	prev, next *entry // among the idle ones

	connections, hellos, links int32       // at once
	first, last                *Connection // those with unfinished hellos, the oldest first

	came   bucket // new connections
	shook  bucket // handshakes of links
	told   bucket // handshakes that went on so that the remote could be told why not
	joined bucket // new identities
	named  bucket // new names
	proved bucket // custom domains that DNS was asked for
	turned bucket // turns to order a certificate
}

func (e *entry) busy() bool { return e.connections > 0 || e.links > 0 }

// paid reports whether forgetting e loses nothing.
func (e *entry) paid(now int64) bool {
	return !e.busy() && int64(max(e.came, e.shook, e.told, e.joined, e.named, e.proved, e.turned)) <= now
}

// A table has the entries of at most maxEntries prefixes. Those that hold nothing
// are forgotten first, the one that was used longest ago before the others. Where
// each of them holds something, a newcomer counts for an account that it shares
// with its neighbours: what is busy is never forgotten. So do those of a network of
// 32 bits of IPv6 that has a quarter of the table: a provider, or whoever likes, has
// networks without end there.
type table struct {
	seed     maphash.Seed
	busy     map[prefix]int // of IPv6, by 32 bits: those that hold something
	max      int            // maxEntries
	entries  map[prefix]*entry
	idle     entry // the ring of those that hold nothing, the oldest first
	overflow []*entry
}

func newTable(most int) *table {
	t := &table{seed: maphash.MakeSeed(), max: most, entries: make(map[prefix]*entry), busy: make(map[prefix]int)}
	t.idle.prev, t.idle.next = &t.idle, &t.idle
	return t
}

// find returns the entry of a prefix. It is taken from among the idle ones: settle
// puts it back.
func (t *table) find(p prefix, now int64) *entry {
	for range tidy {
		if e := t.idle.next; e != &t.idle && e.prefix != p && e.paid(now) {
			t.forget(e)
		}
	}
	if e := t.entries[p]; e != nil {
		e.unlink()
		return e
	}
	if p.bits != 32 && t.busy[provider(p)] >= t.max/4 {
		return t.shared(p)
	}
	if len(t.entries) >= t.max {
		e := t.idle.next
		if e == &t.idle {
			return t.shared(p)
		}
		t.forget(e)
	}
	e := &entry{prefix: p}
	t.entries[p] = e
	return e
}

// provider is the network of 32 bits that a prefix of IPv6 is of.
func provider(p prefix) prefix { return prefix{p.net &^ 0xffffffff, 32} }

// countBusy counts e among those that hold something, or not any more.
func (t *table) countBusy(e *entry) {
	busy := e.busy() && !e.shared && e.bits != 32
	if busy == e.counted {
		return
	}
	e.counted = busy
	of := provider(e.prefix)
	if busy {
		t.busy[of]++
	} else if t.busy[of]--; t.busy[of] == 0 {
		delete(t.busy, of)
	}
}

// settle puts e among the idle ones if it holds nothing.
func (t *table) settle(e *entry) {
	e.unlink()
	t.countBusy(e)
	if e.busy() || e.shared {
		return
	}
	e.prev, e.next = t.idle.prev, &t.idle
	e.prev.next, e.next.prev = e, e
}

func (t *table) forget(e *entry) {
	e.unlink()
	delete(t.entries, e.prefix)
}

// shared returns the overflow account of a prefix.
func (t *table) shared(p prefix) *entry {
	if t.overflow == nil {
		t.overflow = make([]*entry, overflows)
	}
	i := maphash.Comparable(t.seed, p.coarse()) % overflows
	if t.overflow[i] == nil {
		t.overflow[i] = &entry{prefix: p, shared: true}
	}
	return t.overflow[i]
}

// unlink takes e from the ring, if it is there.
func (e *entry) unlink() {
	if e.next != nil {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next = nil, nil
	}
}

// Network returns the network that an address is of, as a provider has it: 24 bits of
// IPv4, or 32 of IPv6. It is for what networks share. It is not valid for an address
// that is none.
func Network(a netip.Addr) netip.Prefix {
	return publicaddr.Network(a, 24, 32)
}

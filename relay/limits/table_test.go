package limits_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/limits"
)

// million returns the i-th of many addresses, each of another network, of IPv4 and
// IPv6 in turn.
func million(i int) netip.Addr {
	if i%2 == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0b000000+uint32(i))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x2a00000000000000+uint64(i)<<16)
	return netip.AddrFrom16(b)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Many addresses that come, ask for names and go make no table grow beyond its
// bound, in entries and in bytes.
func TestManyAddresses(t *testing.T) {
	var a limits.Addresses
	before := heap()
	c := new(conn) // one after the other
	for i := range 3 * limits.MaxEntries {
		ip := million(i)
		c.from.IP = append(c.from.IP[:0], ip.AsSlice()...)
		n, why := a.Connect(c)
		if why != limits.None {
			t.Fatalf("%v is %v", ip, why)
		}
		n.Close()
		if i%5 == 0 {
			a.Allow(limits.NewName, ip)
		}
	}
	if n := a.Entries(); n > 2*limits.MaxEntries {
		t.Errorf("%d entries", n)
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("%d KiB more are held", grown>>10)
	} else {
		t.Logf("%d entries in %d KiB", a.Entries(), grown>>10)
	}
	runtime.KeepAlive(&a)
}

// Where the table is full of addresses that hold something, none of these is
// forgotten, a newcomer gets in, and all newcomers together are bounded.
func TestFullTable(t *testing.T) {
	const size, each = 100, 3
	a := addresses(limits.Address{Connections: each, ConnectionRate: none, Hellos: -1})
	a.Shrink(size)
	busy := func(i int) string { return fmt.Sprintf("10.0.0.%d", i) }
	for i := range size {
		come(t, a, busy(i), limits.None)
	}
	let := 0
	for i := range 20_000 {
		if _, why := a.Connect(from(fmt.Sprintf("172.%d.%d.1", i/250, i%250))); why == limits.None {
			let++
		}
	}
	if let == 0 || let > limits.Overflows*each {
		t.Errorf("%d newcomers were let in", let)
	}
	others := 0
	for i := range 100 { // of other networks
		if n, why := a.Connect(from(fmt.Sprintf("192.%d.0.1", i))); why == limits.None {
			others++
			n.Close()
		}
	}
	if others < 20 {
		t.Errorf("newcomers of %d networks of 100 are let in", others)
	}
	if n := a.Entries(); n > size {
		t.Errorf("%d entries", n)
	}
	for i := range size { // the busy ones have what they had
		come(t, a, busy(i), limits.None)
		come(t, a, busy(i), limits.None)
		come(t, a, busy(i), limits.AddressConnections)
	}
}

// What holds nothing is forgotten, the one that was used longest ago first, and by
// itself when nothing is lost with it.
func TestIdleIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := addresses(limits.Address{Connections: -1, ConnectionRate: every(1, time.Hour)})
		a.Shrink(3)
		for _, ip := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			come(t, a, ip, limits.None).Close()
		}
		come(t, a, "192.0.2.1", limits.AddressRate) // which is now the one used last
		come(t, a, "192.0.2.4", limits.None).Close()
		come(t, a, "192.0.2.3", limits.AddressRate)
		come(t, a, "192.0.2.1", limits.AddressRate)
		come(t, a, "192.0.2.2", limits.None).Close() // it was forgotten
		time.Sleep(time.Hour)
		for range 3 {
			come(t, a, "192.0.2.9", limits.None).Close()
			time.Sleep(time.Hour)
		}
		if n := a.Entries(); n != 1 {
			t.Errorf("%d entries are left", n)
		}
	})
}

func BenchmarkConnect(b *testing.B) {
	for _, known := range []int{1, 1 << 16} {
		b.Run(fmt.Sprint(known), func(b *testing.B) {
			var a limits.Addresses
			a.Set(limits.Config{Address: limits.Address{ConnectionRate: none}})
			conns := make([]*conn, known)
			for i := range conns {
				conns[i] = from(million(2 * i).String())
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				n, _ := a.Connect(conns[i%known])
				n.Greeted()
				n.Close()
				i += 7919
			}
		})
	}
}

// Who has a network of 32 bits of IPv6 has as many addresses as he likes. He takes a
// quarter of the table with them, and newcomers of other networks have parts of their
// own.
func TestOneProviderDoesNotFillTheTable(t *testing.T) {
	const size, each = 1000, 3
	a := addresses(limits.Address{Connections: each, ConnectionRate: none, Hellos: -1})
	a.Shrink(size)
	held := 0
	var some []*limits.Connection
	for i := range 10 * size {
		if n, why := a.Connect(from(fmt.Sprintf("2001:db8:%x:%x::1", i/4, i%4))); why == limits.None {
			held++
			some = append(some, n)
		}
	}
	for i := range 100 { // neighbours, who would share one part
		for range each {
			come(t, a, fmt.Sprintf("203.0.113.%d", i), limits.None)
		}
		come(t, a, fmt.Sprintf("203.0.113.%d", i), limits.AddressConnections)
	}
	if n := a.Entries(); n > size {
		t.Errorf("%d entries", n)
	}
	for _, n := range some { // then all is as it was
		n.Close()
	}
	for i := range size {
		come(t, a, fmt.Sprintf("2001:db8:%x:0::1", i), limits.None).Close()
	}
}

package limits_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/limits"
)

// One address that holds all it may does not touch the next, and gets more when
// it has let something go.
func TestAddressesDoNotTouchEachOther(t *testing.T) {
	a := addresses(limits.Address{Connections: 3, ConnectionRate: none})
	for _, pair := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8:0:1::1"}, {"::ffff:192.0.2.3", "192.0.2.4"}} {
		full, next := pair[0], pair[1]
		var held []*limits.Connection
		for range 3 {
			held = append(held, come(t, a, full, limits.None))
		}
		come(t, a, full, limits.AddressConnections)
		come(t, a, next, limits.None).Close()
		held[1].Close()
		held[1].Close()
		held[1] = come(t, a, full, limits.None)
		come(t, a, full, limits.AddressConnections)
		for _, n := range held {
			n.Close()
		}
	}
	if n := a.Counts.Of(limits.AddressConnections); n != 6 {
		t.Errorf("the limit was met %d times", n)
	}
}

// All of a network of 64 bits is one address, and one of 48 bits has no more than
// four of these.
func TestIPv6Networks(t *testing.T) {
	a := addresses(limits.Address{Connections: 2, ConnectionRate: none})
	come(t, a, "2001:db8::1", limits.None)
	come(t, a, "2001:db8::ffff:2", limits.None)
	come(t, a, "2001:db8::3", limits.AddressConnections)
	for i := 1; i < limits.SiteFactor; i++ {
		come(t, a, fmt.Sprintf("2001:db8:0:%x::1", i), limits.None)
		come(t, a, fmt.Sprintf("2001:db8:0:%x::2", i), limits.None)
	}
	come(t, a, "2001:db8:0:ffff::1", limits.AddressConnections)
	come(t, a, "2001:db8:1::1", limits.None)
}

// As many as come in ten seconds may come at once, and then as many as the rate
// says.
func TestConnectionRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := addresses(limits.Address{Connections: -1, ConnectionRate: every(5, time.Second)})
		for range 50 {
			come(t, a, "192.0.2.1", limits.None).Close()
		}
		come(t, a, "192.0.2.1", limits.AddressRate)
		come(t, a, "192.0.2.2", limits.None).Close()
		for range 20 {
			time.Sleep(time.Second / 5)
			come(t, a, "192.0.2.1", limits.None).Close()
			come(t, a, "192.0.2.1", limits.AddressRate)
		}
		time.Sleep(time.Hour)
		for range 50 {
			come(t, a, "192.0.2.1", limits.None).Close()
		}
		come(t, a, "192.0.2.1", limits.AddressRate)
	})
}

// All connections that an address may have may come at once.
func TestConnectionsComeBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(limits.Addresses)
		var held []*limits.Connection
		for range 2048 { // the defaults: 1,024 devices with two links each
			held = append(held, come(t, a, "192.0.2.1", limits.None))
		}
		come(t, a, "192.0.2.1", limits.AddressConnections)
		for _, n := range held {
			n.Greeted()
			if why, _ := n.Handshake(); why != limits.None {
				t.Fatal(why)
			}
			if why := n.Link(); why != limits.None {
				t.Fatal(why)
			}
		}
		come(t, a, "192.0.2.1", limits.AddressRate)
	})
}

// A rate as slow as can be set, and a number as large, make no time overflow.
func TestExtremeLimits(t *testing.T) {
	a := addresses(limits.Address{Connections: 1_000_000_000, ConnectionRate: every(1, 24*time.Hour), Links: 1_000_000_000, LinkRate: every(1_000_000_000, time.Second)})
	for range 1000 {
		n := come(t, a, "192.0.2.1", limits.None)
		if why, _ := n.Handshake(); why != limits.None {
			t.Fatal(why)
		}
	}
}

// Of unfinished hellos the oldest of the same address goes, so that slow ones do
// not keep a newcomer out, and none of another address.
func TestOldestHelloGoes(t *testing.T) {
	a := addresses(limits.Address{Hellos: 3, ConnectionRate: none})
	other := from("192.0.2.2")
	a.Connect(other)
	var slow []*conn
	for i := range 10 {
		c := from("192.0.2.1")
		n, why := a.Connect(c)
		if why != limits.None {
			t.Fatalf("the %dth is %v", i, why)
		}
		slow = append(slow, c)
		if i == 4 {
			n.Greeted() // it is none of them any more
		}
		defer n.Close()
	}
	for i, c := range slow {
		if want := i < 7 && i != 4; c.cut != want {
			t.Errorf("the %dth is closed: %v", i, c.cut)
		}
	}
	if other.cut || a.Counts.Of(limits.AddressHellos) != 6 {
		t.Errorf("the other address's is closed: %v; %d went", other.cut, a.Counts.Of(limits.AddressHellos))
	}
}

// Links do not count as connections; those that are too many stay connections.
func TestLinks(t *testing.T) {
	a := addresses(limits.Address{Connections: 2, Links: 3, ConnectionRate: none})
	var links []*limits.Connection
	for range 3 {
		n := come(t, a, "192.0.2.1", limits.None)
		if why := n.Link(); why != limits.None {
			t.Fatal(why)
		}
		links = append(links, n)
	}
	n := come(t, a, "192.0.2.1", limits.None)
	if why := n.Link(); why != limits.AddressLinks {
		t.Errorf("one more is %v", why)
	}
	come(t, a, "192.0.2.1", limits.None)
	come(t, a, "192.0.2.1", limits.AddressConnections)
	links[0].Close()
	if why := n.Link(); why != limits.None {
		t.Errorf("in the place of one that is over it is %v", why)
	}
	n.Close()
	if why := n.Link(); why != limits.None {
		t.Errorf("what is over is %v", why)
	}
}

// All links of an address may come back at once; then the rate counts, and one
// second is told so in words.
func TestLinkHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := addresses(limits.Address{Connections: -1, ConnectionRate: none, Hellos: -1, Links: 100, LinkRate: every(2, time.Second)})
		n := come(t, a, "192.0.2.1", limits.None)
		shake := func(want limits.Reason, wantTell bool) {
			t.Helper()
			if why, tell := n.Handshake(); why != want || tell != wantTell {
				t.Errorf("%v, told %v", why, tell)
			}
		}
		for range 100 {
			shake(limits.None, false)
		}
		shake(limits.AddressHandshakes, true)
		shake(limits.AddressHandshakes, false)
		time.Sleep(time.Second)
		shake(limits.None, false)
		shake(limits.None, false)
		shake(limits.AddressHandshakes, true)
	})
}

// Several at once come all or not at all; more than ever may come at once come once
// nothing has come for long enough.
func TestAllowAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := addresses(limits.Address{Names: every(4, 24*time.Hour)})
		allow := func(many int, want time.Duration) {
			t.Helper()
			ok, retry := a.AllowAll(limits.NewName, many, addr("192.0.2.1"))
			if ok != (want == 0) || retry != want {
				t.Errorf("%d at once: %v, again after %v, want %v", many, ok, retry, want)
			}
		}
		allow(3, 0)
		allow(3, 12*time.Hour)
		allow(1, 0)
		allow(9, 24*time.Hour)
		time.Sleep(24 * time.Hour)
		allow(9, 0)
		allow(1, 36*time.Hour)
	})
}

// New identities and names are counted apart, each for a day.
func TestAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := addresses(limits.Address{Names: every(2, 24*time.Hour), Identities: every(3, 24*time.Hour)})
		allow := func(k limits.Kind, from string, want bool) (retry time.Duration) {
			t.Helper()
			ok, retry := a.Allow(k, addr(from))
			if ok != want || ok != (retry == 0) {
				t.Errorf("kind %d from %s: %v, again after %v", k, from, ok, retry)
			}
			return retry
		}
		for range 2 {
			allow(limits.NewName, "192.0.2.1", true)
		}
		if retry := allow(limits.NewName, "192.0.2.1", false); retry != 12*time.Hour {
			t.Errorf("again after %v", retry)
		}
		for range 3 {
			allow(limits.NewIdentity, "192.0.2.1", true)
		}
		allow(limits.NewIdentity, "192.0.2.1", false)
		allow(limits.NewName, "192.0.2.2", true)
		for range 8 {
			allow(limits.NewName, "127.0.0.1", true)
		}
		time.Sleep(12 * time.Hour)
		allow(limits.NewName, "192.0.2.1", true)
		allow(limits.NewName, "192.0.2.1", false)
		if a.Counts.Of(limits.AddressNames) != 2 || a.Counts.Of(limits.AddressIdentities) != 1 {
			t.Error("the counts are wrong")
		}
	})
}

// The machine itself is exempt, unless something else is said.
func TestExempt(t *testing.T) {
	c := limits.Address{Connections: 1}
	a := addresses(c)
	for _, ip := range []string{"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"} {
		for range 5 {
			if n := come(t, a, ip, limits.None); n != nil {
				t.Errorf("%s counts", ip)
				n.Greeted()
				n.Close()
			}
		}
	}
	a.Set(limits.Config{Address: c, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	come(t, a, "192.0.2.9", limits.None)
	come(t, a, "192.0.2.9", limits.None)
	come(t, a, "127.0.0.1", limits.None)
	come(t, a, "127.0.0.1", limits.AddressConnections)
	a.Set(limits.Config{Address: c, Exempt: []netip.Prefix{}})
	come(t, a, "192.0.2.9", limits.None)
	come(t, a, "192.0.2.9", limits.AddressConnections)
}

// What is set counts at once, for what is there already too; nothing that may be
// set means anything else than it says.
func TestSet(t *testing.T) {
	a := addresses(limits.Address{Connections: 5, ConnectionRate: none})
	var held []*limits.Connection
	for range 5 {
		held = append(held, come(t, a, "192.0.2.1", limits.None))
	}
	a.Set(limits.Config{Address: limits.Address{Connections: 2, ConnectionRate: none}})
	for _, n := range held[1:] {
		come(t, a, "192.0.2.1", limits.AddressConnections)
		n.Close()
	}
	come(t, a, "192.0.2.1", limits.None)
	a.Set(limits.Config{Address: limits.Address{Connections: -1, ConnectionRate: every(math.MaxInt, time.Second), Hellos: -1}})
	for range 5000 {
		come(t, a, "192.0.2.1", limits.None)
	}
}

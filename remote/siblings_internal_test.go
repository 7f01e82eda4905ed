package remote

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// Each relay of a name is told of the name's other relays, and of no other name's; a relay
// that is still looked for is left out until it has answered. Who has it turned off, and
// a TCP port, name none.
func TestEachRelayIsToldOfTheOthers(t *testing.T) {
	d := new(Device)
	l, other, port := &Listener{domain: "app.example.com"}, &Listener{domain: "b.example.com"}, &Listener{domain: "c"}
	port.cfg.Port = 22
	add := func(names []*Listener, candidates ...string) *way {
		w := &way{d: d, candidates: candidates, wants: make(map[*Listener]bool)}
		for _, l := range names {
			w.wants[l] = true
		}
		d.ways = append(d.ways, w)
		return w
	}
	a := add([]*Listener{l, port}, "relay.net")
	b := add([]*Listener{l, port}, "relay.example.org:8443")
	add([]*Listener{other}, "relay.test")
	climbing := add([]*Listener{l}, "c.net", "b.c.net")
	check := func(w *way, l *Listener, want ...string) {
		t.Helper()
		if got := w.siblings(l); !slices.Equal(got, want) {
			t.Errorf("%s is told of %q, want %q", w.name(), got, want)
		}
	}
	check(a, l, "relay.example.org")
	check(b, l, "relay.net")
	check(climbing, l, "relay.net", "relay.example.org")
	check(a, other, "relay.test")
	check(a, port)
	climbing.answered("b.c.net")
	check(a, l, "relay.example.org", "b.c.net")
	for range 20 {
		add([]*Listener{l}, "x"+string(rune('a'+len(d.ways)))+".test")
	}
	if n := len(a.siblings(l)); n != 8 {
		t.Errorf("%d siblings are named", n)
	}
	d.cfg.NoSiblings = true
	check(a, l)
}

// An order waits until each relay of the name has given it, since the CA may come to any
// of them, but not for ever: one may be down.
func TestAnOrderWaitsForAllRelaysOfTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(Device)
		l := &Listener{d: d, domain: "app.example.com", links: newNameLinks()}
		l.turn.l = l
		for _, relay := range []string{"a.test", "b.test"} {
			d.ways = append(d.ways, &way{d: d, candidates: []string{relay}, wants: map[*Listener]bool{l: true}})
		}
		begin := func() (took func() time.Duration) {
			start, done := time.Now(), make(chan time.Duration, 1)
			go func() {
				if err := l.waitEverywhere(t.Context()); err != nil {
					t.Error(err)
				}
				done <- time.Since(start)
			}()
			return func() time.Duration { return <-done }
		}
		d.ways[0].give("a.test", l)
		took := begin()
		time.Sleep(time.Second)
		d.ways[1].give("b.test", l)
		l.linkUp(new(framing.Link), framing.Claimed{})
		if got := took(); got != time.Second {
			t.Errorf("with both relays after a second it took %v", got)
		}
		if got := begin()(); got != 0 {
			t.Errorf("with both relays there it took %v", got)
		}
		d.ways[1].take(l)
		if got := begin()(); got != everywhereTimeout {
			t.Errorf("with one relay down it took %v", got)
		}
	})
}

package remote

import (
	"slices"
	"testing"
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

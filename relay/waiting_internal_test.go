package relay

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A full table gives a newcomer of a small share the place of one of the largest:
// among holders, and among the names of one.
func TestPlacesOfWaitersAreShared(t *testing.T) {
	limit := hold{perName: 64, total: 128}
	var h waiters
	enter := func(holder, name string) *waiter {
		w := &waiter{visitor: visitor{name: name}, holder: holder, owned: true, pushed: make(chan struct{})}
		if !h.enter(w, limit) {
			return nil
		}
		return w
	}
	out := func(w *waiter) bool {
		select {
		case <-w.pushed:
			return true
		default:
			return false
		}
	}
	var attack []*waiter
	for i := range 128 {
		attack = append(attack, enter("attacker", fmt.Sprint("name", i%2)))
	}
	if enter("attacker", "name0") != nil {
		t.Error("one more of the largest name has a place")
	}
	// Another name of the same holder gets its part of what that has.
	for i := range 40 {
		if enter("attacker", "third") == nil {
			t.Fatalf("visitor %d of a third name has no place", i)
		}
	}
	// Another holder gets up to half.
	for i := range 64 {
		if enter("honest", "other") == nil {
			t.Fatalf("visitor %d of another holder has no place", i)
		}
	}
	if h.holders.sum != 128 || h.holders.count["attacker"] != 64 {
		t.Errorf("%d have a place, %d of them the attacker's", h.holders.sum, h.holders.count["attacker"])
	}
	if !out(attack[0]) || out(attack[127]) {
		t.Error("not the one that has waited longest had to go")
	}
	// Nobody pushes out who has no more.
	if enter("honest", "other") != nil {
		t.Error("a share as large as the other pushed one out")
	}
}

// Names without an owner have half of the table together. There networks have equal
// parts, and within a network a newcomer of a new name takes a place, too.
func TestNamesWithoutAnOwnerShareHalfOfTheTableByNetwork(t *testing.T) {
	limit := hold{perName: 64, total: 128}
	var h waiters
	enter := func(network, name string, owned bool) *waiter {
		w := &waiter{visitor: visitor{name: name}, holder: network, owned: owned, pushed: make(chan struct{})}
		if !h.enter(w, limit) {
			return nil
		}
		return w
	}
	first := enter("192.0.2.0/24", "label 0", false)
	for i := range 500 {
		if enter("192.0.2.0/24", fmt.Sprint("label ", i+1), false) == nil {
			t.Fatalf("the visitor of new label %d has no place", i+1)
		}
	}
	if h.holders.sum != 64 || h.ownerless.sum != 64 {
		t.Errorf("labels have %d of %d places, want half", h.ownerless.sum, limit.total)
	}
	select {
	case <-first.pushed:
	default:
		t.Error("the visitor that has waited longest is still there")
	}
	if enter("192.0.2.0/24", "label 500", false) != nil {
		t.Error("one more of a label that has as many as any has a place")
	}
	for i := range 32 {
		if enter("198.51.100.0/24", "label 500", false) == nil {
			t.Fatalf("visitor %d of another network has no place", i)
		}
	}
	for i := range 64 {
		if enter("holder", "name", true) == nil {
			t.Fatalf("visitor %d of a name with an owner has no place", i)
		}
	}
	if h.ownerless.count["198.51.100.0/24"] != 32 || h.ownerless.sum != 64 || h.holders.sum != 128 {
		t.Errorf("%d of the other network, %d labels, %d in all", h.ownerless.count["198.51.100.0/24"], h.ownerless.sum, h.holders.sum)
	}
}

// Whoever comes and goes, the counts fit and nothing is left.
func TestWaitersLeaveNothingBehind(t *testing.T) {
	var h waiters
	var p presence
	var in []*waiter
	for range 20_000 {
		if rand.IntN(2) == 0 || len(in) == 0 {
			w := &waiter{holder: fmt.Sprint("holder", rand.IntN(5)), owned: true, pushed: make(chan struct{})}
			w.name = fmt.Sprint(w.holder, rand.IntN(5))
			if rand.IntN(2) == 0 { // a label, of which several networks have visitors
				w.holder, w.owned = fmt.Sprint("network", rand.IntN(5)), false
				w.name = fmt.Sprint("label", rand.IntN(5))
			}
			if h.enter(w, hold{perName: 10, total: 50}) {
				in = append(in, w)
			}
		} else {
			i := rand.IntN(len(in))
			h.leave(in[i], &p)
			in[i] = in[len(in)-1]
			in = in[:len(in)-1]
		}
		most := 0
		for _, n := range h.holders.count {
			most = max(most, n)
		}
		if _, n := h.holders.largest(); n != most || h.holders.sum > 50 {
			t.Fatalf("the largest is said to have %d of %d, and has %d", n, h.holders.sum, most)
		}
	}
	for _, w := range in {
		h.leave(w, &p)
	}
	if h.holders.sum != 0 || h.ownerless.sum != 0 || len(h.ownerless.count) != 0 || len(h.holders.count)+len(h.holders.with)+len(h.names)+len(h.waiting) != 0 {
		t.Errorf("left: %+v", &h)
	}
}

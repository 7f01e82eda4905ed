package cluster

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
)

// Names that are made from a key anybody has by the thousand: their turns leave half of the
// places to others, and none stays taken once its run has the name no more.
func TestTurnsOfMadeNamesLeavePlaces(t *testing.T) {
	s := turns{told: meter{rate: 1e9, burst: 1e9}}
	run := by(1, 5, 1).Runs[0]
	here := func(framing.Run) bool { return true }
	began := 0
	for i := range maxTurns + 10 {
		if _, granted, _ := s.decide(keyname.Label(make([]byte, 32), strconv.Itoa(i))+".relay.test", run, true, here); granted {
			began++
		}
	}
	for _, name := range []string{"app.relay.test", "example.test"} {
		if _, granted, _ := s.decide(name, by(2, 1, 2).Runs[0], true, here); !granted {
			t.Errorf("%s gets no turn beside %d of names that are made from keys", name, began)
		}
	}
	s.forget(func(name string, _ framing.Run) bool { return name == "app.relay.test" })
	if _, ok := s.of("app.relay.test"); !ok {
		t.Error("the turn of a run that has its name is forgotten")
	}
	if n := len(s.known); n > 1 {
		t.Errorf("%d turns are left of runs that have the names no more", n)
	}
	if _, granted, _ := s.decide(keyname.Label(make([]byte, 32), "")+".relay.test", run, true, here); !granted || s.made != 1 {
		t.Errorf("no turn where places are free, and %d are counted", s.made)
	}
}

// However often remotes of a node begin and end turns, the node stays connected with the
// others, be it the one that decides or not; and a device that asks now and then gets its turn.
func TestTurnsOfRemotesFloodNoNode(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		was := map[*testNode]*peer{a: a.connected()[0], b: b.connected()[0]}
		run := framing.Run{Number: 1, ID: [16]byte{1}}
		for i := range 15 {
			for _, n := range []*testNode{a, b} {
				at := by(byte(i), 1, 1)
				at.Replica = true
				n.up(fmt.Sprintf("%d.relay.test", i), at) // on both, so that a decides
			}
		}
		synctest.Wait()
		for _, n := range []*testNode{a, b} {
			for range 1000 {
				for i := range 15 {
					name := fmt.Sprintf("%d.relay.test", i)
					n.Order(name, run, true, always)
					n.Order(name, run, false, always)
				}
				synctest.Wait()
			}
			calm(100 * time.Millisecond)
			name := "of-" + n.Node + ".relay.test"
			n.up(name, by(200, 1, 1))
			synctest.Wait()
			if !n.Order(name, run, true, always) {
				t.Errorf("node %s gives no turn to another device", n.Node)
			}
		}
		for n, p := range was {
			if now := n.connected(); len(now) != 1 || now[0] != p {
				t.Errorf("node %s was disconnected: %v", n.Node, p.err)
			}
		}
	})
}

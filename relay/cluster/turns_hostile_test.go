package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// A node that comes where many turns are known stays connected with those that tell it of them.
func TestManyTurnsKeepNoNodeAway(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := r.start(r.node("a", nil))
		run := framing.Run{Number: 1, ID: [16]byte{1}}
		at := by(1, 1, 1)
		at.Replica = true
		const many = 30_000
		a.Cluster.turns.told = meter{rate: many, burst: many}
		for i := range many {
			name := fmt.Sprintf("n%d.relay.test", i)
			a.put(name, at)
			a.Cluster.turns.decide(name, run, true, func(framing.Run) bool { return true })
		}
		b := r.start(r.node("b", nil))
		calm(5 * time.Second)
		now := b.connected()
		if len(now) != 1 {
			t.Fatalf("node b is connected with %d nodes:\n%s", len(now), r.log)
		}
		calm(30 * time.Second)
		if again := b.connected(); len(again) != 1 || again[0] != now[0] {
			t.Errorf("node b was disconnected: %v", now[0].err)
		}
		if n := len(b.Cluster.turns.known); n != many {
			t.Errorf("node b knows of %d turns, of %d", n, many)
		}
	})
}

// However many nodes ask one whose turn it is, that one stays connected with all of them.
func TestTurnsOfManyNodesFloodNone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var nodes []*testNode
		for i := range 13 {
			nodes = append(nodes, r.start(r.node(fmt.Sprintf("n%02d", i), nil)))
		}
		calm(3 * time.Second)
		run := framing.Run{Number: 1, ID: [16]byte{1}}
		for i := range 16 {
			at := by(byte(i), 1, 1)
			at.Replica = true
			for _, n := range nodes {
				n.up(fmt.Sprintf("%d.relay.test", i), at)
			}
		}
		synctest.Wait()
		was := make(map[*testNode][]*peer)
		for _, n := range nodes {
			if was[n] = n.connected(); len(was[n]) != len(nodes)-1 {
				t.Fatalf("node %s has %d others", n.Node, len(was[n]))
			}
		}
		for _, n := range nodes[1:] {
			for range 64 {
				for i := range 16 {
					name := fmt.Sprintf("%d.relay.test", i)
					n.Order(name, run, true, always)
					n.Order(name, run, false, always)
				}
				synctest.Wait()
			}
		}
		calm(100 * time.Millisecond)
		for _, n := range nodes {
			for _, p := range was[n] {
				if p.err != nil {
					t.Errorf("node %s was disconnected from %s: %v", n.Node, p.node, p.err)
				}
			}
		}
	})
}

// Turns that remotes have begun little by little, and end all at once, part no nodes, be they
// ended at the node that decides or at another one.
func TestTurnsThatEndAtOnceFloodNoNode(t *testing.T) {
	for i, at := range []string{"that decides", "that does not"} {
		t.Run("at the node "+at, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				a, b := r.pair()
				was := map[*testNode]*peer{a: a.connected()[0], b: b.connected()[0]}
				at := by(1, 1, 1)
				at.Replica = true
				const many = 30_000
				name := func(i int) string { return fmt.Sprintf("n%d.relay.test", i) }
				for i := range many {
					for _, n := range []*testNode{a, b} {
						n.up(name(i), at)
						n.Cluster.turns.hear(name(i), at.Runs[0], framing.OrderTime)
					}
				}
				calm(5 * time.Second)
				ends := []*testNode{a, b}[i]
				for i := range many {
					ends.Order(name(i), at.Runs[0], false, always)
					if i%100 == 0 {
						synctest.Wait()
					}
				}
				calm(100 * time.Millisecond)
				for n, p := range was {
					if now := n.connected(); len(now) != 1 || now[0] != p {
						t.Errorf("node %s was disconnected: %v", n.Node, p.err)
					}
				}
				for _, n := range []*testNode{a, b} {
					if _, ok := n.Cluster.turns.of(name(0)); ok {
						t.Errorf("node %s does not know that a turn has ended", n.Node)
					}
				}
			})
		})
	}
}

// Turns that begin and end while much waits to be written leave places for what ends the
// connection where it finds none.
func TestTurnsLeavePlacesInAQueue(t *testing.T) {
	p := &peer{more: make(chan struct{}, 1)}
	for i := range 4 * maxQueued {
		p.tellTurn(nil, i < 2*maxQueued)
	}
	if err := p.send(pong(1)); err != nil {
		t.Errorf("a PONG finds no place behind %d of turns: %v", len(p.queue), err)
	}
}

// A replica that asks again and again while another one has its turn gets its own once that
// is over.
func TestAReplicaThatWaitsLongGetsItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		const names = 4
		first, second := by(1, 1, 1), by(1, 2, 2)
		first.Replica, second.Replica = true, true
		name := func(i int) string { return fmt.Sprintf("%d.relay.test", i) }
		for i := range names {
			a.up(name(i), first)
			b.up(name(i), second)
		}
		synctest.Wait()
		for i := range names {
			if !a.Order(name(i), first.Runs[0], true, always) {
				t.Fatal("no turn where nobody has it")
			}
		}
		for range 9 * 60 / 5 { // less than a turn's time
			calm(5 * time.Second)
			for i := range names {
				if b.Order(name(i), second.Runs[0], true, always) {
					t.Fatal("two replicas have one turn")
				}
			}
		}
		for i := range names {
			a.Order(name(i), first.Runs[0], false, always)
		}
		calm(time.Second)
		for i := range names {
			if !b.Order(name(i), second.Runs[0], true, always) {
				t.Errorf("no turn of %s after a long wait", name(i))
			}
		}
	})
}

// The end of a turn that another node tells of ends no turn which another run has by now.
func TestALateEndEndsNoOtherTurn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		const name = "app.relay.test"
		first, second := by(1, 1, 1).Runs[0], by(1, 2, 2)
		second.Replica = true
		b.up(name, second)
		synctest.Wait()
		if !b.Order(name, second.Runs[0], true, always) {
			t.Fatal("no turn where nobody has it")
		}
		synctest.Wait()
		_ = a.connected()[0].send(turnRecord(name, first, 0))
		calm(time.Second)
		for _, n := range []*testNode{a, b} {
			if has, ok := n.Cluster.turns.of(name); !ok || has.run != second.Runs[0] {
				t.Errorf("node %s does not know whose turn it is", n.Node)
			}
		}
		b.site.mu.Lock()
		defer b.site.mu.Unlock()
		if b.site.turns[name] != second.Runs[0] {
			t.Error("validations go to any replica")
		}
	})
}

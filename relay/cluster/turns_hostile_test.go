package cluster

import (
	"fmt"
	"testing"
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

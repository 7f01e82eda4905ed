package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// bubble runs a test under a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}

// pair is two nodes that are connected.
func (r *rig) pair() (a, b *testNode) {
	a, b = r.start(r.node("a", nil)), r.start(r.node("b", nil))
	calm(2 * time.Second)
	return a, b
}

// Names that change while others are told are told, too, each and from any goroutine: the
// race detector looks on.
func TestNamesChangeWhileOthersAreTold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		const each = 200
		var all sync.WaitGroup
		for g := range 4 {
			all.Go(func() {
				for i := range each {
					a.up(fmt.Sprintf("n%d.%d.relay.test", g, i), by(1, 5, 5))
					a.Order("none.relay.test", framing.Run{}, false, always) // which writes with no name to tell
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := b.Nodes()[0].Names; n != 4*each {
			t.Errorf("%d names are known, want %d", n, 4*each)
		}
	})
}

// All that is connected when two nodes meet is known to both, and then each change.
func TestNodesTellWhatIsConnected(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", nil), r.node("b", nil)
		for i := range 3000 { // of several records
			a.put(fmt.Sprintf("n%d.relay.test", i), by(1, 5, 5))
		}
		r.start(a)
		r.start(b)
		calm(2 * time.Second)
		b.finds(t, "n0.relay.test", "a")
		b.finds(t, "n2999.relay.test", "a")
		b.finds(t, "other.relay.test", "")
		if n := b.Nodes(); len(n) != 2 || n[0].Name != "a" || n[0].Names != 3000 || !n[0].Whole || !n[0].Connected {
			t.Errorf("nodes: %+v", n)
		}
		b.up("m.relay.test", by(2, 7, 7))
		a.down("n0.relay.test")
		synctest.Wait()
		a.finds(t, "m.relay.test", "b")
		b.finds(t, "n0.relay.test", "")
		if got, ok := a.Newest("m.relay.test"); !ok || got.Run.Number != 7 || got.Key[0] != 2 || got.Replica {
			t.Errorf("newest: %+v, %v", got, ok)
		}
		if len(a.site.claimed) != 1 || a.site.claimed[0].Name != "m.relay.test" {
			t.Errorf("node a's server was told of %v", a.site.claimed)
		}
		if len(b.remember) != 1 || b.remember[0] != "n0.relay.test" {
			t.Errorf("node b remembers %q", b.remember)
		}
	})
}

// What a node has said ends with its connection, and its names are remembered.
func TestEntriesEndWithTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		a.up("n.relay.test", by(1, 5, 5))
		synctest.Wait()
		b.finds(t, "n.relay.test", "a")
		a.Close()
		synctest.Wait()
		b.finds(t, "n.relay.test", "")
		if len(b.remember) != 1 {
			t.Errorf("remembered are %q", b.remember)
		}
	})
}

// A node whose network is silent is noticed within five seconds by both, and is back
// within five seconds of healing, with what has changed meanwhile.
func TestSilentNodeIsNoticedAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		a.up("n.relay.test", by(1, 5, 5))
		b.up("m.relay.test", by(2, 5, 5))
		calm(time.Second)
		r.part("a", "b")
		calm(5 * time.Second)
		b.finds(t, "n.relay.test", "")
		a.finds(t, "m.relay.test", "")
		if n := b.Nodes()[0]; n.Connected || n.Why == "" {
			t.Errorf("node a is %+v", n)
		}
		a.down("n.relay.test")
		a.up("k.relay.test", by(1, 5, 5))
		calm(time.Minute)
		r.heal("a", "b")
		calm(5 * time.Second)
		b.finds(t, "n.relay.test", "")
		b.finds(t, "k.relay.test", "a")
		a.finds(t, "m.relay.test", "b")
	})
}

// Nodes that are up go on when the list of nodes is away, and meet again by what they
// knew of it.
func TestNodesGoOnWithoutTheList(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		a.up("n.relay.test", by(1, 5, 5))
		r.board.set("a", nil)
		r.board.set("b", nil)
		calm(time.Minute)
		b.finds(t, "n.relay.test", "a")
		r.part("a", "b")
		calm(5 * time.Second)
		r.heal("a", "b")
		calm(5 * time.Second)
		b.finds(t, "n.relay.test", "a")
	})
}

// A later process of a node takes its place; an earlier one does not come back.
func TestLaterProcessTakesThePlace(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, b := r.pair()
		old.up("n.relay.test", by(1, 5, 5))
		synctest.Wait()
		again := r.node("a", func(c *Cluster) {
			c.Epoch = 2
			c.Credentials = old.Credentials
		})
		again.put("m.relay.test", by(1, 6, 6))
		r.start(again)
		calm(20 * time.Second)
		b.finds(t, "n.relay.test", "")
		b.finds(t, "m.relay.test", "a")
		if n := b.Nodes()[0]; n.Epoch != 2 {
			t.Errorf("node a is %+v", n)
		}
		if !strings.Contains(r.log.String(), "a later process of node a is connected") {
			t.Error("the earlier process is not told why it is refused")
		}
	})
}

// Another machine with the name of a node that is up is refused, and told so; the node
// stays.
func TestAnotherMachineWithTheSameNameIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		a.up("n.relay.test", by(1, 5, 5))
		other := r.node("a", func(c *Cluster) { c.About.Address, c.Epoch = "elsewhere:9441", 9 })
		if err := other.Start(t.Context()); !errors.Is(err, ErrNodeTaken) {
			t.Errorf("started with %v", err)
		}
		other.Close()
		b.finds(t, "n.relay.test", "a")
		r.board.hidden = true // so that it is not known in time
		if err := other2(r).Start(t.Context()); err != nil {
			t.Errorf("started with %v", err)
		}
		calm(time.Minute)
		b.finds(t, "n.relay.test", "a")
	})
}

func other2(r *rig) *testNode {
	n := r.node("a", func(c *Cluster) { c.About.Address, c.Epoch = "elsewhere:9441", 9 })
	r.t.Cleanup(func() { n.Close() })
	return n
}

// Of a name that is on two nodes the newest run is found, and near replicas first; a node
// that leaves, or that has said no, is not.
func TestFindTakesTheNewestThenTheNearest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		near := func(c *Cluster) { c.About.Region = "eu" }
		leaves := false
		a, b := r.start(r.node("a", near)), r.start(r.node("b", near))
		c := r.start(r.node("c", func(c *Cluster) { c.Load = func() Load { return Load{Leaves: leaves} } }))
		calm(2 * time.Second)
		b.up("n.relay.test", by(1, 5, 5))
		c.up("n.relay.test", by(1, 6, 1))
		synctest.Wait()
		a.finds(t, "n.relay.test", "c")
		replica := func(run byte) relay.Presence {
			at := by(1, 5, run)
			at.Replica = true
			return at
		}
		b.up("n.relay.test", replica(5))
		c.up("n.relay.test", replica(6))
		synctest.Wait()
		a.finds(t, "n.relay.test", "b")
		if at, _ := a.Find("n.relay.test", false, []string{"b"}); at.Node != "c" {
			t.Errorf("without b it is found at %q", at.Node)
		}
		at, _ := a.Find("n.relay.test", false, nil)
		b.up("n.relay.test", replica(5)) // its word from now is a newer one
		synctest.Wait()
		a.Miss(at, "n.relay.test")
		a.finds(t, "n.relay.test", "b")
		at, _ = a.Find("n.relay.test", false, nil)
		a.Miss(at, "n.relay.test")
		a.finds(t, "n.relay.test", "c")
		b.up("n.relay.test", replica(5))
		leaves = true
		c.up("m.relay.test", by(2, 5, 5))
		calm(2 * time.Second)
		a.finds(t, "n.relay.test", "b")
		a.finds(t, "m.relay.test", "c") // there is no other
	})
}

// A cut reaches all other nodes once, and goes no further.
func TestCutsReachAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		c := r.start(r.node("c", nil))
		calm(2 * time.Second)
		cut := relay.Cut{Name: "n.relay.test"}
		cut.Why.Code, cut.Why.Text, cut.Why.Hints = 3, "no more", []string{"ask"}
		a.Cluster.Cut(cut)
		synctest.Wait()
		for _, n := range []*testNode{b, c} {
			if len(n.cut) != 1 || n.cut[0].Name != cut.Name || n.cut[0].Why.Text != "no more" || !n.cut[0].Elsewhere {
				t.Fatalf("node %s has cut %+v", n.Node, n.cut)
			}
		}
		b.Cluster.Cut(b.cut[0]) // as its server does
		synctest.Wait()
		if len(a.cut) != 0 || len(c.cut) != 1 {
			t.Error("a cut goes round")
		}
	})
}

// One replica at a time has the turn to order a certificate, wherever it is; the turn is
// known everywhere, and outlives the node that has given it.
func TestTurnsAreAmongAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		c := r.start(r.node("c", nil))
		calm(2 * time.Second)
		const name = "n.relay.test"
		run := map[*testNode]framing.Run{}
		for i, n := range []*testNode{a, b, c} {
			at := by(1, 5, byte(i))
			at.Replica = true
			run[n] = at.Runs[0]
			n.up(name, at)
		}
		synctest.Wait()
		if !c.Order(name, run[c], true, always) {
			t.Fatal("node c's replica gets no turn")
		}
		synctest.Wait()
		for _, n := range []*testNode{a, b} {
			if n.Order(name, run[n], true, always) {
				t.Errorf("node %s's replica gets a turn, too", n.Node)
			}
			if at, ok := n.Turn(name); !ok || at.Node != "c" {
				t.Errorf("at node %s the turn is at %+v", n.Node, at)
			}
		}
		if _, ok := c.Turn(name); ok {
			t.Error("at node c the turn is elsewhere")
		}
		if c.site.turns[name] != run[c] {
			t.Error("node c's server is not told")
		}
		a.Close()
		synctest.Wait()
		if b.Order(name, run[b], true, always) {
			t.Error("node b's replica gets a turn when the decider is gone")
		}
		c.Order(name, run[c], false, always)
		synctest.Wait()
		if !b.Order(name, run[b], true, always) {
			t.Error("node b's replica gets no turn when that of c has ended")
		}
		synctest.Wait()
		b.down(name) // its turn ends with it
		synctest.Wait()
		if !c.Order(name, run[c], true, always) {
			t.Error("node c's replica gets no turn when that of b has gone")
		}
		calm(framing.OrderTime + time.Second)
		if _, ok := c.Turn(name); ok {
			t.Error("a turn does not end")
		}
	})
}

// Where the record does not say yet which of two identities has a name, it is asked again.
func TestDoubtfulNamesAreAskedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		times := 0
		a.settled = func(relay.Claimed) bool { times++; return times >= 3 }
		b.up("n.relay.test", by(1, 5, 5))
		calm(10 * time.Second)
		if times != 3 {
			t.Errorf("asked %d times", times)
		}
	})
}

// What the list says of a node can change while it runs; the node stays connected.
func TestWeightChangesWhileTheNodeRuns(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.pair()
		a.SetAbout(About{Address: "a:9441", Region: "eu", Weight: 0})
		calm(2 * time.Second)
		if n := b.Nodes()[0]; n.Weight != 0 || n.Region != "eu" || !n.Connected || !n.Listed {
			t.Errorf("node a is %+v", n)
		}
		if n := a.Nodes()[0]; n.Weight != 0 || !n.Self {
			t.Errorf("node a is %+v to itself", n)
		}
	})
}

// Ten thousand names, and with KEYSTAY_SOAK a hundred thousand, are told at once, and again after the connection was lost.
func TestManyNamesAreToldAtOnce(t *testing.T) {
	names := 10_000
	if os.Getenv("KEYSTAY_SOAK") != "" {
		names = 100_000
	}
	bubble(t, func(t *testing.T, r *rig) {
		a, b := r.node("a", nil), r.node("b", nil)
		for i := range names {
			a.put(fmt.Sprintf("device-%d.some.relay.test", i), by(byte(i), 5, byte(i)))
		}
		r.start(a)
		r.start(b)
		calm(3 * time.Second)
		whole := func() {
			t.Helper()
			if n := b.Nodes()[0]; n.Names != names || !n.Whole {
				t.Errorf("%d names of %d are known", n.Names, names)
			}
		}
		whole()
		r.part("a", "b")
		calm(5 * time.Second)
		if len(b.remember) != names {
			t.Errorf("%d names are remembered", len(b.remember))
		}
		r.heal("a", "b")
		calm(5 * time.Second)
		whole()
	})
}

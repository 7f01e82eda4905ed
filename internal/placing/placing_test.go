package placing_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"keystay/internal/placing"
)

const ms = time.Millisecond

// remotes is how many remotes the tests of shares have.
const remotes = 1500

func seed(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// alike are nodes that stand at one place, with these weights.
func alike(weights ...int) (list []placing.Node) {
	for i, w := range weights {
		list = append(list, placing.Node{Name: fmt.Sprint("n", i), Weight: w, RTT: 20 * ms})
	}
	return list
}

// settle moves links until none is to move, and returns where they are and how many moved.
func settle(t testing.TB, seed []byte, nodes []placing.Node, links []string) (settled []string, moves []placing.Move) {
	t.Helper()
	links = slices.Clone(links)
	for {
		m, ok := placing.Next(seed, nodes, links)
		if !ok {
			return links, moves
		}
		i := slices.Index(links, m.From)
		if to := slices.IndexFunc(nodes, func(n placing.Node) bool { return n.Name == m.To }); i < 0 || m.From == m.To || nodes[to].Weight == 0 || nodes[to].Away {
			t.Fatalf("links on %v: %+v", links, m)
		}
		links[i] = m.To
		if moves = append(moves, m); len(moves) > 100 {
			t.Fatalf("links move for ever: %v", moves[90:])
		}
	}
}

// place dials two links, one after the other.
func place(t testing.TB, seed []byte, nodes []placing.Node) (links []string) {
	t.Helper()
	for range 2 {
		name, ok := placing.Best(seed, nodes, links, "")
		if !ok {
			t.Fatal("no node takes a link")
		}
		links = append(links, name)
	}
	return links
}

// shares places many remotes and returns which part of all links each node has.
func shares(t testing.TB, nodes []placing.Node) map[string]float64 {
	count := make(map[string]float64)
	for i := range remotes {
		for _, l := range place(t, seed(i), nodes) {
			count[l] += 1.0 / remotes / 2
		}
	}
	return count
}

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if got < want-by || got > want+by {
		t.Errorf("%s: %.3f, want %.3f", what, got, want)
	}
}

// The two links of a remote are on two nodes, and nodes that stand alike get as many as
// their weights say.
func TestLinksAreSpreadByWeight(t *testing.T) {
	for i := range remotes {
		if l := place(t, seed(i), alike(1, 1, 1)); l[0] == l[1] {
			t.Fatalf("both links on %s", l[0])
		}
	}
	equal := shares(t, alike(100, 100, 100, 100))
	for name, part := range equal {
		near(t, name, part, 0.25, 0.02)
	}
	first := make(map[string]float64)
	for i := range remotes {
		name, _ := placing.Best(seed(i), alike(100, 200, 100), nil, "")
		first[name] += 1.0 / remotes
	}
	near(t, "twice the weight", first["n1"], 0.5, 0.03)
	near(t, "the weight", first["n0"], 0.25, 0.03)
}

// One node that takes links gets both; with none there is no answer.
func TestOneNodeGetsBothLinks(t *testing.T) {
	nodes := alike(0, 1, 1)
	nodes[2].Away = true
	if l := place(t, seed(1), nodes); l[0] != "n1" || l[1] != "n1" {
		t.Errorf("links on %v", l)
	}
	if name, ok := placing.Best(seed(1), alike(0, 0), nil, ""); ok {
		t.Errorf("a link on %s", name)
	}
	if m, ok := placing.Next(seed(1), alike(0, 0), []string{"n0", "n1"}); ok {
		t.Errorf("%+v", m)
	}
}

// Near nodes are taken, and of far ones the nearest where there is one near node alone.
func TestNearNodesAreTaken(t *testing.T) {
	nodes := alike(100, 100, 1000, 1000)
	nodes[0].RTT, nodes[1].RTT, nodes[2].RTT, nodes[3].RTT = 12*ms, 14*ms, 90*ms, 150*ms
	for i := range remotes {
		if l := place(t, seed(i), nodes); !slices.Contains(l, "n0") || !slices.Contains(l, "n1") {
			t.Fatalf("links on %v", l)
		}
	}
	nodes[1].Away = true
	second := shares(t, nodes)
	near(t, "near", second["n0"], 0.5, 0.01)
	near(t, "the farthest", second["n3"], 0, 0.01)
}

// A node that is nearly full gets a small part of what it would, whatever is near
// otherwise; one that carries an easy load gets all.
func TestLoadedNodesGetLess(t *testing.T) {
	nodes := alike(100, 100, 100, 100)
	nodes[0].Load, nodes[1].Load = 700, 1000
	all := shares(t, nodes)
	near(t, "easy", all["n0"], all["n2"], 0.03)
	if all["n1"] > 0.06 {
		t.Errorf("a full node has %.3f of the links", all["n1"])
	}
}

// A node that is there anew gets about its share, no other link moves, and each moves
// once.
func TestNewNodeGetsItsShare(t *testing.T) {
	old, now := alike(100, 100, 100), alike(100, 100, 100, 100)
	got := 0
	for i := range remotes {
		_, moves := settle(t, seed(i), now, place(t, seed(i), old))
		if len(moves) > 1 {
			t.Fatalf("%+v", moves)
		}
		for _, m := range moves {
			if m.To != "n3" || m.Why != placing.Better {
				t.Fatalf("%+v", m)
			}
			got++
		}
	}
	if part := float64(got) / remotes / 2; part < 0.18 || part > 0.26 {
		t.Errorf("the new node has got %.3f of the links", part)
	}
}

// When a node goes, or takes no links any more, its links move and no others.
func TestOnlyTheLinksOfANodeThatGoesMove(t *testing.T) {
	for name, change := range map[string]func(*placing.Node){"weight 0": func(n *placing.Node) { n.Weight = 0 }, "away": func(n *placing.Node) { n.Away = true }} {
		nodes := alike(100, 300, 100, 100)
		before := slices.Clone(nodes)
		change(&nodes[1])
		for i := range remotes {
			links := place(t, seed(i), before)
			settled, moves := settle(t, seed(i), nodes, links)
			for _, m := range moves {
				if m.From != "n1" || m.Why != placing.Leaving {
					t.Fatalf("%s: %+v", name, m)
				}
			}
			if slices.Contains(settled, "n1") || settled[0] == settled[1] {
				t.Fatalf("%s: links on %v", name, settled)
			}
		}
	}
	nodes := alike(0, 100)
	if settled, _ := settle(t, seed(1), nodes, []string{"n0", "n1"}); settled[0] != "n1" || settled[1] != "n1" {
		t.Errorf("with one node left, links on %v", settled)
	}
}

// Two links on one node are drawn apart once another one takes links.
func TestLinksAreDrawnApart(t *testing.T) {
	nodes := alike(100, 100)
	nodes[1].RTT = 300 * ms
	settled, moves := settle(t, seed(1), nodes, []string{"n0", "n0"})
	if settled[0] == settled[1] || moves[0].Why != placing.Apart {
		t.Errorf("links on %v by %v", settled, moves)
	}
	three, _ := settle(t, seed(1), nodes, []string{"n0", "n0", "n0"})
	if slices.Sort(three); !slices.Equal(three, []string{"n0", "n0", "n1"}) {
		t.Errorf("three links on %v", three)
	}
}

// Links that are settled stay where they are while loads and round trips change as they
// do all the time.
func TestSmallChangesMoveNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	base := alike(100, 100, 100, 100, 100)
	for i := range base {
		base[i].Load = 600 + 50*i
	}
	moved := 0
	for i := range 100 {
		links, _ := settle(t, seed(i), base, place(t, seed(i), base))
		for range 30 {
			now := slices.Clone(base)
			for j := range now {
				now[j].Load += r.IntN(31) - 15
				now[j].RTT += time.Duration(r.Int64N(int64(ms))) - ms/2
			}
			var moves []placing.Move
			links, moves = settle(t, seed(i), now, links)
			moved += len(moves)
		}
	}
	if moved > 6 { // of 100 × 30 × 2
		t.Errorf("%d moves", moved)
	}
}

// Load does not swing from node to node: where loads follow the links, and each remote
// looks once in a while, the moves come to an end with no node full.
func TestLoadsSettle(t *testing.T) {
	const n = 600
	nodes := alike(100, 100, 100, 100)
	links := make([][]string, n)
	weigh := func() {
		load := make(map[string]int)
		for i, l := range links {
			heavy := 1
			if i%5 == 0 {
				heavy = 4
			}
			load[l[0]], load[l[1]] = load[l[0]]+heavy, load[l[1]]+heavy
		}
		for j := range nodes {
			nodes[j].Load = load[nodes[j].Name] * 1000 / 600
		}
	}
	for i := range links { // all on two of the four nodes
		links[i] = []string{"n0", "n1"}
	}
	weigh()
	moves := 0
	for minute := range 60 {
		moves = 0
		for i := range links {
			if (i+minute)%10 != 0 {
				continue // each looks once in ten minutes
			}
			if m, ok := placing.Next(seed(i), nodes, links[i]); ok {
				links[i][slices.Index(links[i], m.From)] = m.To
				moves++
			}
		}
		weigh()
	}
	if moves > 2 {
		t.Errorf("%d links move in the last minute", moves)
	}
	for _, node := range nodes {
		if node.Load > 950 {
			t.Errorf("%s has the load %d", node.Name, node.Load)
		}
	}
}

// At first one node of each region is measured, then those that would be taken; a node
// whose region is measured counts as near as that.
func TestRegionsAreMeasuredFirst(t *testing.T) {
	rtt := map[string]time.Duration{"eu": 15 * ms, "us": 100 * ms, "ap": 250 * ms}
	var nodes []placing.Node
	for _, region := range []string{"eu", "us", "ap"} {
		for i := range 10 {
			nodes = append(nodes, placing.Node{Name: fmt.Sprint(region, i), Region: region, Weight: 100})
		}
	}
	links := []string{"us3"}
	var measured []string
	for {
		name, ok := placing.Measure(seed(1), nodes, links)
		if !ok {
			break
		}
		measured = append(measured, name[:2])
		i := slices.IndexFunc(nodes, func(n placing.Node) bool { return n.Name == name })
		if nodes[i].RTT != 0 || len(measured) > 10 {
			t.Fatalf("measured %v", measured)
		}
		nodes[i].RTT = rtt[nodes[i].Region]
	}
	first := slices.Sorted(slices.Values(measured[:3]))
	if !slices.Equal(first, []string{"ap", "eu", "us"}) || len(measured) > 6 {
		t.Errorf("measured %v", measured)
	}
	for _, l := range place(t, seed(1), nodes) {
		if l[:2] != "eu" {
			t.Errorf("a link on %s", l)
		}
	}
	nodes[0].Old, nodes[1].Old = true, true
	if name, ok := placing.Measure(seed(1), nodes, place(t, seed(1), nodes)); ok && name[:2] != "eu" {
		t.Errorf("measured anew: %s", name)
	}
}

// Where nothing can be measured, weights decide; a node of a region that is not known
// comes behind those that are.
func TestUnknownRoundTrips(t *testing.T) {
	nodes := alike(100, 100, 100, 100)
	for i := range nodes {
		nodes[i].RTT = 0
	}
	for name, part := range shares(t, nodes) {
		near(t, name, part, 0.25, 0.02)
	}
	nodes[0].RTT, nodes[0].Region, nodes[1].Region = 30*ms, "eu", "eu"
	all := shares(t, nodes)
	if all["n0"]+all["n1"] < 0.85 {
		t.Errorf("shares %v", all)
	}
}

// FuzzNext: whatever the nodes are, moves come to an end, and lead to nodes that take
// links.
func FuzzNext(f *testing.F) {
	f.Add([]byte{1, 3, 100, 20, 10, 0, 100, 200, 30, 1, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		var nodes []placing.Node
		for len(in) >= 4 && len(nodes) < 8 {
			nodes = append(nodes, placing.Node{Name: fmt.Sprint(len(nodes)), Weight: int(in[0]) * 250, Load: int(in[1]) * 256,
				RTT: time.Duration(in[2]) * 3 * ms, Region: fmt.Sprint(in[3] % 4), Away: in[3]&4 != 0, Old: in[3]&8 != 0})
			in = in[4:]
		}
		links := []string{"gone"}
		for _, b := range in[:min(len(in), 8)] {
			links = append(links, fmt.Sprint(b%9))
		}
		settle(t, seed(len(in)), nodes, links)
		placing.Best(seed(1), nodes, links, links[0])
		placing.Measure(seed(1), nodes, links)
	})
}

package relay_test

import (
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
)

// nodesOf is a list of two nodes, of which the second has this weight and load.
func nodesOf(weight, load uint16) framing.Nodes {
	return framing.Nodes{Own: "a", List: []framing.Node{
		{Name: "a", Address: "192.0.2.1:443", Region: "eu", Weight: 100},
		{Name: "b", Address: "192.0.2.2:443", Region: "us", Weight: weight, Load: load}}}
}

// A heard is a remote that keeps what it is told of nodes, and when.
type heard struct {
	*device
	mu    sync.Mutex
	lists []framing.Nodes
	at    []time.Time
}

// all is what it was told, and when.
func (h *heard) all() ([]framing.Nodes, []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lists), slices.Clone(h.at)
}

// hearing connects a remote that keeps what it is told of nodes.
func (r *rig) hearing(id identity) *heard {
	r.t.Helper()
	h := &heard{device: &device{}}
	err := r.linkWith(h.device, id, framing.Handler{Nodes: func(n framing.Nodes) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lists, h.at = append(h.lists, n), append(h.at, time.Now())
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := h.Claim(r.t.Context(), framing.Claim{Name: id.label()}); err != nil {
		r.t.Fatal(err)
	}
	return h
}

// A relay that never says what nodes it has tells its remotes nothing.
func TestRelayOnOneMachineTellsOfNoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		h := r.hearing(newIdentity(t))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lists, _ := h.all(); len(lists) != 0 {
			t.Errorf("told %+v", lists)
		}
		r.close()
	})
}

// A remote hears of the nodes as it comes, of those that come and go and of weights
// within seconds, and of loads alone within a minute and a half.
func TestRemotesHearOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		set := func(n framing.Nodes) {
			t.Helper()
			if err := r.srv.SetNodes(n); err != nil {
				t.Fatal(err)
			}
		}
		early := r.hearing(newIdentity(t))
		set(nodesOf(100, 0))
		late := r.hearing(newIdentity(t))
		heard := func(within time.Duration, want ...framing.Nodes) {
			t.Helper()
			time.Sleep(within)
			synctest.Wait()
			for _, h := range []*heard{early, late} {
				if lists, _ := h.all(); !reflect.DeepEqual(lists, want) {
					t.Fatalf("told %+v, want %+v", lists, want)
				}
			}
		}
		heard(3*time.Second, nodesOf(100, 0))
		set(nodesOf(100, 0)) // the same
		set(nodesOf(100, 500))
		heard(30*time.Second, nodesOf(100, 0))
		heard(time.Minute, nodesOf(100, 0), nodesOf(100, 500))
		set(nodesOf(100, 510))
		set(nodesOf(0, 520))
		heard(3*time.Second, nodesOf(100, 0), nodesOf(100, 500), nodesOf(0, 520))
		late.Close()
		early.Close()
		r.close()
	})
}

// However often the nodes change, a remote is told a bounded number of times, and the
// last list in the end.
func TestNodesThatChangeAllTheTimeAreToldNowAndThen(t *testing.T) {
	for name, c := range map[string]struct {
		list func(i int) framing.Nodes
		most int
	}{
		"weight": {func(i int) framing.Nodes { return nodesOf(uint16(i), 0) }, 62},
		"load":   {func(i int) framing.Nodes { return nodesOf(1, uint16(i)) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				h := r.hearing(newIdentity(t))
				for i := range 1200 {
					if err := r.srv.SetNodes(c.list(i + 1)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				lists, _ := h.all()
				if n := len(lists); n < 2 || n > c.most {
					t.Errorf("told %d times, at most %d", n, c.most)
				}
				if last := lists[len(lists)-1]; !reflect.DeepEqual(last, c.list(1200)) {
					t.Errorf("told last %+v", last)
				}
				h.Close()
				r.close()
			})
		})
	}
}

// Many remotes do not hear of a change at one moment.
func TestRemotesAreToldOfNodesOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		var all []*heard
		for range 10 {
			all = append(all, r.hearing(newIdentity(t)))
		}
		if err := r.srv.SetNodes(nodesOf(1, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		at := make(map[time.Time]bool)
		for _, h := range all {
			_, when := h.all()
			if len(when) != 1 {
				t.Fatalf("told %d times", len(when))
			}
			at[when[0]] = true
		}
		if len(at) < 5 {
			t.Errorf("told at %d moments", len(at))
		}
		for _, h := range all {
			h.Close()
		}
		r.close()
	})
}

// What NODES cannot carry is refused, and nothing is told of it.
func TestNodesThatCannotBeToldAreRefused(t *testing.T) {
	r := newRig(t, nil)
	twice := nodesOf(1, 1)
	twice.List[1].Name = "a"
	for _, n := range []framing.Nodes{twice, {List: []framing.Node{{}}}, {Own: "\x1b"}} {
		if err := r.srv.SetNodes(n); err == nil {
			t.Errorf("%+v was taken", n)
		}
	}
}

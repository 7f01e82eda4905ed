package record_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zone = "relay.test"

// A node is a policy with the record of one node.
type node struct {
	*names.Names
	record *record.Record
}

// open opens the record as another node has it. set may change its configuration, and be
// nil.
func open(t testing.TB, s *etcd.Server, set func(*record.Config)) *node {
	t.Helper()
	cfg := record.Config{Endpoints: []string{s.URL()}, Key: make([]byte, record.KeySize), AnswerTime: time.Minute}
	if set != nil {
		set(&cfg)
	}
	r, err := record.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	n := &node{&names.Names{Grants: r}, r}
	n.Begin(zone)
	return n
}

// ready waits until the record can be read.
func ready(t testing.TB, nodes ...*node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, n := range nodes {
		if err := n.record.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor waits until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("not in time: " + what)
		}
	}
}

// client is one of etcd that has nothing of keystay's.
func client(t testing.TB, s *etcd.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newKey() []byte {
	k := make([]byte, 32)
	rand.Read(k)
	return k
}

// claim claims a name.
func (n *node) claim(key []byte, name string) error {
	_, err := n.Claim(context.Background(), names.Claimant{Name: name, Key: key})
	return err
}

// A grant that one node has made is there on the other one, and is not given out there.
func TestGrantOfOneNodeIsKnownToTheOther(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	a, b := open(t, s, nil), open(t, s, nil)
	ready(t, a, b)
	mine, other := newKey(), newKey()
	if err := a.claim(mine, "a.relay.test"); err != nil {
		t.Fatal(err)
	}
	if err := b.claim(other, "a.relay.test"); err == nil {
		t.Error("the name is given out twice")
	}
	if err := b.claim(mine, "a.relay.test"); err != nil {
		t.Errorf("its own at the other node: %v", err)
	}
	c := open(t, s, nil) // which reads all of it
	ready(t, c)
	if err := c.claim(other, "x.a.relay.test"); err == nil {
		t.Error("a name below one of another device is given out by a node that has just begun")
	}
}

// Devices that claim the same names at several nodes at once: each name is one's.
func TestNoNameIsGivenToTwoKeys(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	nodes := []*node{open(t, s, nil), open(t, s, nil), open(t, s, nil)}
	ready(t, nodes...)
	const perNode, list = 4, 20
	var mu sync.Mutex
	got := make(map[string]int)
	var wg sync.WaitGroup
	for _, n := range nodes {
		for range perNode {
			key := newKey()
			wg.Go(func() {
				for i := range list {
					name := fmt.Sprintf("n%d.relay.test", i)
					if n.claim(key, name) == nil {
						mu.Lock()
						got[name]++
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range list {
		if name := fmt.Sprintf("n%d.relay.test", i); got[name] != 1 {
			t.Errorf("%s is given to %d devices", name, got[name])
		}
	}
}

// A node is in the list of the nodes while it is announced, and with its newest value.
func TestNodesAreListedWhileTheyAreAnnounced(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	a, b := open(t, s, nil), open(t, s, nil)
	ready(t, a, b)
	var mu sync.Mutex
	var last map[string][]byte
	b.record.Nodes().Announced(func(all map[string][]byte) {
		mu.Lock()
		defer mu.Unlock()
		last = all
	})
	shows := func(value string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			got, ok := last["a"]
			return last != nil && (value == "") == !ok && string(got) == value
		}
	}
	announce := func(value string) (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.record.Nodes().Announce(ctx, "a", []byte(value)) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	endOne := announce("one")
	waitFor(t, "the node is listed", shows("one"))
	endTwo := announce("two")
	waitFor(t, "its new value is listed", shows("two"))
	endOne()
	if _, err := client(t, s).Put(t.Context(), "keystay/nodes/b", "without the key"); err != nil {
		t.Fatal(err)
	}
	endTwo()
	waitFor(t, "the node is gone", shows(""))
	mu.Lock()
	defer mu.Unlock()
	if len(last) > 0 {
		t.Errorf("listed: %q", last)
	}
}

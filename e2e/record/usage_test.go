package record_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"keystay/e2e/internal/etcd"
)

// What several nodes add to one owner at once is all there, on each of them.
func TestWhatNodesAddIsAddedUp(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	nodes := []*node{open(t, s, nil), open(t, s, nil), open(t, s, nil)}
	ready(t, nodes...)
	owners := make([]string, 150) // more than one transaction has
	for i := range owners {
		owners[i] = fmt.Sprintf("name n%d", i)
	}
	const rounds = 5
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for range rounds {
				err := n.AddUsage(owners, func(_ string, kept []byte) []byte {
					was, _ := strconv.Atoi(string(kept))
					return strconv.AppendInt(nil, int64(was+1), 10)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, n := range nodes {
		if !n.Shared() {
			t.Error("a record in etcd is one of several processes")
		}
		n.record.Fresh(t.Context())
		kept, err := n.LoadUsage()
		if err != nil || len(kept) != len(owners) {
			t.Fatalf("%d owners, %v", len(kept), err)
		}
		for id, value := range kept {
			if string(value) != strconv.Itoa(rounds*len(nodes)) {
				t.Errorf("node %d: %s has %s", i, id, value)
			}
		}
	}
}

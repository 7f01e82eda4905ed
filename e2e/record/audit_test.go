package record_test

import (
	"fmt"
	"testing"
	"time"

	"keystay/e2e/internal/etcd"
)

// Entries that nodes have written are read on every node, in the order of their times;
// what was written without the nodes' key is not. Those of a node that ends are there.
func TestAuditIsShared(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	a, b := open(t, s, nil), open(t, s, nil)
	ready(t, a, b)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const each = 100
	for i := range each {
		a.record.Audit().Add(start.Add(time.Duration(2*i)*time.Second), fmt.Appendf(nil, "%d", 2*i))
		b.record.Audit().Add(start.Add(time.Duration(2*i+1)*time.Second), fmt.Appendf(nil, "%d", 2*i+1))
	}
	if _, err := client(t, s).Put(t.Context(), "keystay/audit/ffffffffffffffff00000000", "without the key, and as long as a MAC at least"); err != nil {
		t.Fatal(err)
	}
	a.record.Close()
	waitFor(t, "all are there", func() bool {
		all, err := b.record.Audit().Last(1000, time.Time{})
		return err == nil && len(all) == 2*each
	})
	some, err := b.record.Audit().Last(4, start.Add(10*time.Second))
	if err != nil || len(some) != 3 || string(some[2]) != "199" { // the forged one counts among the last four
		t.Errorf("%q, %v", some, err)
	}
	since, err := b.record.Audit().Last(1000, start.Add(190*time.Second))
	if err != nil || len(since) != 10 || string(since[0]) != "190" {
		t.Errorf("since: %q, %v", since, err)
	}
}

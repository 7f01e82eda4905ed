package record_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// heap is how much the process holds, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a node with many names takes: to begin, in memory, and for a claim. With
// KEYSTAY_GRANTS=100000 it says so; else it is a small one that only has to work.
func TestManyGrants(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("KEYSTAY_GRANTS"))
	quiet := n == 0
	if n = max(n, 1000); quiet {
		t.Parallel()
	}
	s := etcd.Start(t, func(cfg *embed.Config) { cfg.QuotaBackendBytes = 8 << 30 })
	a := open(t, s, nil)
	ready(t, a)
	begin := time.Now()
	grant := func(tx names.Tx, i int) error {
		key := fmt.Appendf(nil, "device-%d.relay.test", i)
		value := fmt.Appendf(nil, `{"key":"%043d=","since":"2026-11-01T12:00:00Z","seen":"2026-11-%02dT12:00:00Z","token":"0123456789abcdef"}`, i, 1+i%28)
		return tx.Set(names.Kept()[0], key, value)
	}
	if err := a.record.Update(func(tx names.Tx) error {
		for i := range n {
			if err := grant(tx, i); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d grants are written in %v", n, time.Since(begin).Round(time.Millisecond))
	a.record.Close()
	before := heap()
	begin = time.Now()
	b, err := record.Open(record.Config{Endpoints: []string{s.URL()}, Key: make([]byte, record.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	node := &node{&names.Names{Grants: b}, b}
	ready(t, node)
	t.Logf("a node begins in %v, and holds %d MiB", time.Since(begin).Round(time.Millisecond), (heap()-before)>>20)
	node.Begin(zone)
	begin = time.Now()
	const claims = 50
	for i := range claims {
		if err := node.claim(newKey(), fmt.Sprintf("new%d.relay.test", i)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a new name is given out in %v", time.Since(begin)/claims)
	if got := count(entries(t, b), "grants/"); got != n+claims {
		t.Errorf("%d grants, want %d", got, n+claims)
	}
}

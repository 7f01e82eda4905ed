//go:build linux

package machines

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// The real etcd of three members goes on when one is killed and another one is cut off for
// a while, and no longer when two are away; what was written is there.
func TestEtcdOfThree(t *testing.T) {
	t.Parallel()
	g := New(t, 4)
	e := g.StartEtcd(t, testca.New(t), 0, 1, 2)
	c := e.Client(3, "", "")
	e.Await(c)
	put := func(key string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Put(ctx, key, key)
		return err
	}
	world.Eventually(t, world.Patience, "all members are there", func() bool { return put("a") == nil })
	e.Members[0].Kill()
	world.Eventually(t, world.Patience, "two go on", func() bool { return put("b") == nil })
	g.Part([]int{1}, []int{0, 2, 3})
	if err := put("c"); err == nil {
		t.Error("one of three members writes")
	}
	g.Heal()
	e.Start(0)
	world.Eventually(t, world.Patience, "all go on", func() bool { return put("d") == nil })
	got, err := c.Get(context.Background(), "a", clientv3.WithRange("e"))
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Count; n < 3 {
		t.Errorf("%d keys are there: %v", n, got.Kvs)
	}
}

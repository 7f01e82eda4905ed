package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// Whoever can write to etcd and has not the nodes' key changes nothing that a node
// believes, whatever is written: what was there counts on, nothing new is given out, and
// a node that begins then does not begin with it. When it is as it was, all goes on.
func TestNothingIsBelievedWithoutTheKey(t *testing.T) {
	t.Parallel()
	mine := newKey()
	type moment map[string]string // of all keys
	for name, attack := range map[string]func(c *clientv3.Client, before, now moment) error{
		"a grant is put": func(c *clientv3.Client, _, now moment) error {
			_, err := c.Put(context.Background(), "keystay/record/grants/new.relay.test", now["keystay/record/grants/a.relay.test"])
			return err
		},
		"a grant is taken out": func(c *clientv3.Client, _, _ moment) error {
			_, err := c.Delete(context.Background(), "keystay/record/grants/a.relay.test")
			return err
		},
		"a ban is lifted, and the head put again": func(c *clientv3.Client, _, now moment) error {
			_, err := c.Txn(context.Background()).Then(clientv3.OpDelete("keystay/record/bans/name bad.relay.test"),
				clientv3.OpPut("keystay/record/head", now["keystay/record/head"])).Commit()
			return err
		},
		"all is as it once was": func(c *clientv3.Client, before, now moment) error {
			var ops []clientv3.Op
			for key := range now {
				if was, ok := before[key]; ok {
					ops = append(ops, clientv3.OpPut(key, was))
				} else {
					ops = append(ops, clientv3.OpDelete(key))
				}
			}
			_, err := c.Txn(context.Background()).Then(ops...).Commit()
			return err
		},
		"the record is another relay's": func(c *clientv3.Client, _, _ moment) error {
			_, err := c.Put(context.Background(), "keystay/record/head", `{"seq":99,"time":"2026-01-01T00:00:00Z","mac":"00"}`)
			return err
		},
		"the record is gone": func(c *clientv3.Client, _, _ moment) error {
			_, err := c.Delete(context.Background(), "keystay/", clientv3.WithPrefix())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := etcd.Start(t, nil)
			c := client(t, s)
			n := open(t, s, nil)
			ready(t, n)
			if err := n.claim(mine, "a.relay.test"); err != nil {
				t.Fatal(err)
			}
			before := all(t, c)
			if _, err := n.Ban(names.Ban{Kind: names.BanName, Of: "bad.relay.test"}); err != nil {
				t.Fatal(err)
			}
			now, known := all(t, c), entries(t, n.record)
			if err := attack(c, before, now); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the node sees it", func() bool { return errors.Is(n.record.Whole(), names.ErrDamaged) })
			if !maps.Equal(entries(t, n.record), known) {
				t.Error("what nobody with the key has written counts")
			}
			if err := n.claim(newKey(), "b.relay.test"); !errors.Is(err, names.ErrDamaged) {
				t.Errorf("a new name: %v", err)
			}
			if err := n.claim(mine, "a.relay.test"); err != nil {
				t.Errorf("its own name: %v", err)
			}
			second := open(t, s, func(cfg *record.Config) { // as the next start of the node
				cfg.File = filepath.Join(t.TempDir(), "seen")
				var h struct{ Seq int }
				_ = json.Unmarshal([]byte(now["keystay/record/head"]), &h)
				if err := os.WriteFile(cfg.File, fmt.Appendf(nil, `{"prefix":"keystay/","seq":%d}`, h.Seq), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := second.record.Ready(ctx); !errors.Is(err, names.ErrDamaged) {
				t.Errorf("a node that begins: %v", err)
			}
			var ops []clientv3.Op
			for key := range all(t, c) {
				if _, ok := now[key]; !ok {
					ops = append(ops, clientv3.OpDelete(key))
				}
			}
			for key, value := range now {
				ops = append(ops, clientv3.OpPut(key, value))
			}
			if _, err := c.Txn(t.Context()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "all is well again", func() bool { return n.claim(newKey(), "c.relay.test") == nil })
		})
	}
}

// all are all keys with their values.
func all(t testing.TB, c *clientv3.Client) map[string]string {
	t.Helper()
	resp, err := c.Get(t.Context(), "keystay/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[string]string)
	for _, kv := range resp.Kvs {
		list[string(kv.GetKey())] = string(kv.GetValue())
	}
	return list
}

package record

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/relay/names"
)

const (
	// maxOps is how many changes one transaction of etcd has: it takes 128 operations
	// (--max-txn-ops), of which the head is one.
	maxOps = 100
	// maxBytes is how large they are: etcd takes requests of 1.5 MiB
	// (--max-request-bytes).
	maxBytes = 512 << 10
)

// keys are those of the record in etcd: what all of them begin with, with a slash.
type keys string

// head is the key of the head.
func (k keys) head() string { return string(k) + "head" }

// entry is the key of an entry.
func (k keys) entry(t names.Table, key []byte) string {
	return string(k) + string(t) + "/" + string(key)
}

// entryOf is the reverse of entry; ok is false for the head, see isHead.
func (k keys) entryOf(name []byte) (t names.Table, key []byte, ok bool) {
	rest := name[len(k):]
	table, _, ok := strings.Cut(string(rest), "/")
	if !ok {
		return "", nil, false
	}
	return names.Table(table), rest[len(table)+1:], true
}

// isHead says that a key of no entry is not the head's either; nil where it is.
func (k keys) isHead(name []byte) error {
	if string(name) != k.head() {
		return foreign("etcd has a key among its entries that is none of theirs")
	}
	return nil
}

// fits reports whether changes fit into one transaction of etcd.
func fits(list []change) bool {
	if len(list) > maxOps {
		return false
	}
	n := 0
	for _, c := range list {
		n += len(c.key) + len(c.value)
	}
	return n <= maxBytes
}

// last returns the changes of a list of which none is undone by a later one.
func last(list []change) []change {
	at := make(map[string]int, len(list))
	var out []change
	for _, c := range list {
		k := string(c.table) + "/" + string(c.key)
		if i, ok := at[k]; ok {
			out[i] = c
			continue
		}
		at[k] = len(out)
		out = append(out, c)
	}
	return out
}

// ops are the operations that make changes.
func (k keys) ops(list []change) (ops []clientv3.Op) {
	for _, c := range list {
		if c.value == nil {
			ops = append(ops, clientv3.OpDelete(k.entry(c.table, c.key)))
		} else {
			ops = append(ops, clientv3.OpPut(k.entry(c.table, c.key), string(c.value)))
		}
	}
	return ops
}

// unchanged is the condition that a state is still that of etcd.
func (k keys) unchanged(s *state) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(k.head()), "=", s.rev)
}

// commit writes a draft, unless another node has written since its base. Then it waits
// until this node knows of that.
func (r *Record) commit(ctx context.Context, d *draft, h head) (won bool, err error) {
	list := last(d.changes)
	h.Seq, h.Time = d.base.head.Seq+1, later(r.clock.now(), d.base.head.Time)
	only := []clientv3.Cmp{r.keys.unchanged(d.base)}
	var ops []clientv3.Op
	if fits(list) {
		ops = r.keys.ops(list)
	} else {
		long, cancel := context.WithTimeout(r.ctx, stagedTime) // longer than a change has
		defer cancel()
		ctx = long
		var begun clientv3.Cmp
		if h.Staged, begun, err = r.staged.write(ctx, list); err != nil {
			return false, err
		}
		only = append(only, begun)
	}
	next := d.done(h, 0)
	if won, err = r.put(ctx, only, ops, next); err != nil || !won {
		if h.Staged != "" && err == nil {
			_, _ = r.client.Load().Delete(ctx, r.staged.key(h.Staged), clientv3.WithPrefix()) // or Upkeep does
		}
		return won, err
	}
	r.tell(changed(list))
	close(next.told)
	if h.Staged != "" {
		_ = r.finishAll() // or whoever writes next does
	}
	return true, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// put writes the head of next, with other operations, on conditions, and makes next the
// state of this node. Where the conditions are not met it waits until this node knows
// why.
func (r *Record) put(ctx context.Context, only []clientv3.Cmp, ops []clientv3.Op, next *state) (won bool, err error) {
	ops = append(ops, clientv3.OpPut(r.keys.head(), next.head.write(r.headKeyed, next.sum)))
	one, cancel := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancel()
	resp, err := r.client.Load().Txn(one).If(only...).Then(ops...).Else(clientv3.OpGet(r.keys.head())).Commit()
	if err != nil {
		return false, r.refused(err)
	}
	if !resp.Succeeded {
		kvs := resp.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 0 {
			err := foreign("it is gone from etcd")
			r.fault(err)
			return false, err
		}
		return false, r.caughtUp(ctx, kvs[0].GetModRevision())
	}
	next.rev = resp.Header.GetRevision()
	r.publish(next)
	return true, nil
}

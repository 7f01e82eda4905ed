package record

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/relay/names"
)

// staging is what is staged in etcd, beside the record.
type staging struct {
	*etcd
	strays map[string]bool // ids of what does not count, as sweep saw it last
}

// key is where the changes with an id are staged: the key "begin", and then their parts
// in their order.
func (g *staging) key(id string) string { return g.prefix + "staged/" + id + "/" }

// write stages changes. They count once a head names the id; begun is the condition that
// they are all there. Upkeep removes those that no head names, all of an id at once.
func (g *staging) write(ctx context.Context, list []change) (id string, begun clientv3.Cmp, err error) {
	random := make([]byte, 8)
	rand.Read(random)
	id = hex.EncodeToString(random)
	first, err := g.put(ctx, g.key(id)+"begin", "")
	if err != nil {
		return "", begun, err
	}
	var part []byte
	for n := 0; len(list) > 0; n++ {
		part = part[:0]
		for len(list) > 0 && len(part) < maxBytes {
			part = list[0].append(part)
			list = list[1:]
		}
		if _, err := g.put(ctx, fmt.Sprintf("%s%08d", g.key(id), n), string(part)); err != nil {
			return "", begun, err
		}
	}
	return id, clientv3.Compare(clientv3.ModRevision(g.key(id)+"begin"), "=", first), nil
}

func (g *staging) put(ctx context.Context, key, value string) (rev int64, err error) {
	one, cancel := context.WithTimeout(ctx, g.cfg.AnswerTime)
	defer cancel()
	resp, err := g.client.Load().Put(one, key, value)
	if err != nil {
		return 0, g.refused(err)
	}
	return resp.Header.GetRevision(), nil
}

// read returns the changes that a head of a revision names.
func (g *staging) read(ctx context.Context, id string, rev int64) (list []change, err error) {
	kvs, err := g.readAll(ctx, g.key(id), rev, stagedSize)
	if err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		for b := kv.GetValue(); len(b) > 0; {
			var c change
			if c, b, err = cutChange(b); err != nil {
				return nil, err
			}
			list = append(list, c)
		}
	}
	return list, nil
}

// finishAll makes what is staged entries.
func (r *Record) finishAll() error {
	for {
		s := r.now.Load()
		if s.head.Staged == "" {
			return nil
		}
		if err := r.finish(s); err != nil {
			return err
		}
	}
}

// finish makes what a state has staged entries, in several transactions. It changes
// nothing that a node sees, and whoever writes to the record does it first.
func (r *Record) finish(s *state) error {
	ctx, cancel := context.WithTimeout(r.ctx, stagedTime) // longer than a change has
	defer cancel()
	list, err := r.staged.read(ctx, s.head.Staged, s.rev)
	if err != nil {
		if r.now.Load() != s {
			return nil // another node has finished it
		}
		return err
	}
	for {
		h := s.head
		some := list[min(h.Done, len(list)):]
		for n := min(len(some), maxOps); ; n /= 2 {
			if some = some[:min(n, len(some))]; fits(some) || n == 1 {
				break
			}
		}
		ops := r.keys.ops(some)
		if h.Done += len(some); h.Done >= len(list) {
			ops = append(ops, clientv3.OpDelete(r.staged.key(h.Staged), clientv3.WithPrefix()))
			h.Staged, h.Done = "", 0
		}
		next := &state{tables: s.tables, sum: s.sum, size: s.size, head: h, newer: make(chan struct{}), told: s.told}
		won, err := r.put(ctx, []clientv3.Cmp{r.keys.unchanged(s)}, ops, next)
		if err != nil || !won || h.Staged == "" {
			return err
		}
		s = next
	}
}

// append writes a change behind b.
func (c change) append(b []byte) []byte {
	kind := byte(1)
	if c.value == nil {
		kind = 0
	}
	b = append(b, kind)
	for _, part := range [][]byte{[]byte(c.table), c.key, c.value} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// errStaged says that a part of what is staged cannot be read.
var errStaged = fmt.Errorf("%w: what is staged cannot be read", names.ErrDamaged)

// cutChange reads a change, and returns what is behind it.
func cutChange(b []byte) (c change, rest []byte, err error) {
	if len(b) == 0 || b[0] > 1 {
		return c, nil, errStaged
	}
	put := b[0] == 1
	rest = b[1:]
	var parts [3][]byte
	for i := range parts {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return c, nil, errStaged
		}
		parts[i], rest = rest[used:used+int(n)], rest[used+int(n):]
	}
	c = change{table: names.Table(parts[0]), key: parts[1]}
	if put {
		c.value = parts[2]
	} else if len(parts[2]) > 0 {
		return c, nil, errStaged
	}
	return c, rest, nil
}

// sweep removes what was staged and never counted, such as by a node that has died: what
// was there an hour ago, too, and no head names.
func (g *staging) sweep(now func() *state, k keys) error {
	ctx, cancel := context.WithTimeout(g.ctx, updateAnswers*g.cfg.AnswerTime)
	defer cancel()
	c := g.client.Load()
	resp, err := c.Get(ctx, g.prefix+"staged/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(10_000))
	if err != nil {
		return g.refused(err)
	}
	found := make(map[string]bool)
	for _, kv := range resp.Kvs {
		id := string(kv.GetKey()[len(g.prefix)+len("staged/"):])
		if len(id) > 16 && id[16] == '/' {
			found[id[:16]] = true
		}
	}
	s := now()
	delete(found, s.head.Staged)
	var errs error
	for id := range found {
		if !g.strays[id] {
			continue
		}
		_, err := c.Txn(ctx).If(k.unchanged(s)).Then(clientv3.OpDelete(g.key(id), clientv3.WithPrefix())).Commit()
		errs = errors.Join(errs, err)
	}
	g.strays = found
	if errs != nil {
		return g.refused(errs)
	}
	return nil
}

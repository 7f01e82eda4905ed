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

// stagedKey is where the changes with an id are staged: the key "begin", and then their
// parts in their order.
func (r *Record) stagedKey(id string) string { return r.prefix + "staged/" + id + "/" }

// stage writes changes beside the record. They count once a head names the id; begun is
// the condition that they are all there. Upkeep removes those that no head names, all of
// an id at once.
func (r *Record) stage(ctx context.Context, list []change) (id string, begun clientv3.Cmp, err error) {
	random := make([]byte, 8)
	rand.Read(random)
	id = hex.EncodeToString(random)
	first, err := r.putStaged(ctx, r.stagedKey(id)+"begin", "")
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
		if _, err := r.putStaged(ctx, fmt.Sprintf("%s%08d", r.stagedKey(id), n), string(part)); err != nil {
			return "", begun, err
		}
	}
	return id, clientv3.Compare(clientv3.ModRevision(r.stagedKey(id)+"begin"), "=", first), nil
}

func (r *Record) putStaged(ctx context.Context, key, value string) (rev int64, err error) {
	one, cancel := context.WithTimeout(ctx, r.cfg.AnswerTime)
	defer cancel()
	resp, err := r.client.Load().Put(one, key, value)
	if err != nil {
		return 0, r.refused(err)
	}
	return resp.Header.GetRevision(), nil
}

// staged reads changes that a head of a revision names.
func (r *Record) staged(ctx context.Context, id string, rev int64) (list []change, err error) {
	kvs, err := r.readAll(ctx, r.stagedKey(id), rev, stagedSize)
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
	list, err := r.staged(ctx, s.head.Staged, s.rev)
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
		ops := r.ops(some)
		if h.Done += len(some); h.Done >= len(list) {
			ops = append(ops, clientv3.OpDelete(r.stagedKey(h.Staged), clientv3.WithPrefix()))
			h.Staged, h.Done = "", 0
		}
		next := &state{tables: s.tables, sum: s.sum, size: s.size, head: h, newer: make(chan struct{}), told: s.told}
		won, err := r.put(ctx, []clientv3.Cmp{r.unchanged(s)}, ops, next)
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

// sweepStaged removes what was staged and never counted, such as by a node that has
// died: what was there an hour ago, too, and no head names.
func (r *Record) sweepStaged() error {
	ctx, cancel := context.WithTimeout(r.ctx, updateAnswers*r.cfg.AnswerTime)
	defer cancel()
	c := r.client.Load()
	resp, err := c.Get(ctx, r.prefix+"staged/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(10_000))
	if err != nil {
		return r.refused(err)
	}
	found := make(map[string]bool)
	for _, kv := range resp.Kvs {
		id := string(kv.GetKey()[len(r.prefix)+len("staged/"):])
		if len(id) > 16 && id[16] == '/' {
			found[id[:16]] = true
		}
	}
	s := r.now.Load()
	delete(found, s.head.Staged)
	var errs error
	for id := range found {
		if !r.strays[id] {
			continue
		}
		_, err := c.Txn(ctx).If(r.unchanged(s)).Then(clientv3.OpDelete(r.stagedKey(id), clientv3.WithPrefix())).Commit()
		errs = errors.Join(errs, err)
	}
	r.strays = found
	if errs != nil {
		return r.refused(errs)
	}
	return nil
}

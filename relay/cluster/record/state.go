package record

import (
	"bytes"
	"crypto/hmac"
	"fmt"
	"maps"
	"sync"

	"github.com/google/btree"

	"keystay/internal/hint"
	"keystay/relay/names"
)

// An item is one entry of a table.
type item struct{ key, value []byte }

type tree = btree.BTreeG[item]

func newTree() *tree {
	return btree.NewG(32, func(a, b item) bool { return bytes.Compare(a.key, b.key) < 0 })
}

// A state is all of the record as it is after one transaction. Nothing in it changes
// once others have it.
type state struct {
	tables map[names.Table]*tree
	sum    sum
	size   int64 // what the entries take of memory, see cost
	head   head
	rev    int64         // etcd's revision of the head
	newer  chan struct{} // closed when there is a newer state
	told   chan struct{} // closed when those who watch have heard of it
}

// A change is one entry that a transaction sets; without a value it takes it out.
type change struct {
	table names.Table
	key   []byte
	value []byte
}

// A draft is a state that is being made out of another one.
type draft struct {
	base    *state
	tables  map[names.Table]*tree
	own     map[names.Table]bool // those tables that are not the base's
	sum     sum
	size    int64
	sealer  *sealer
	cloning *sync.Mutex
	changes []change // in the order in which they were made
}

// draft begins a state out of the one that there is.
func (r *Record) draft(base *state) *draft {
	return &draft{base: base, tables: maps.Clone(base.tables), own: make(map[names.Table]bool), sum: base.sum, size: base.size,
		sealer: newSealer(r.entryKey), cloning: &r.cloning}
}

// fork returns a draft that goes on from d, which stays as it is.
func (d *draft) fork() *draft {
	f := *d
	f.tables, f.own, f.changes = maps.Clone(d.tables), make(map[names.Table]bool), d.changes[:len(d.changes):len(d.changes)]
	return &f
}

// table returns a table that may be changed.
func (d *draft) table(t names.Table) *tree {
	if !d.own[t] {
		d.cloning.Lock() // to clone a tree writes to it
		d.tables[t] = d.tables[t].Clone()
		d.cloning.Unlock()
		d.own[t] = true
	}
	return d.tables[t]
}

// set makes a change, and what follows from it.
func (d *draft) set(c change) error {
	to, ok := d.tables[c.table]
	if !ok {
		return fmt.Errorf("%w: it has a table %q", names.ErrDamaged, c.table)
	}
	old, had := to.Get(item{key: c.key})
	if had && c.value != nil && bytes.Equal(old.value, c.value) || !had && c.value == nil {
		return nil
	}
	d.changes = append(d.changes, c)
	if had {
		d.sum.sub(d.sealer.of(c.table, old.key, old.value))
		d.size -= cost(old.key, old.value)
		if err := d.follow(c.table, old, false); err != nil {
			return err
		}
	}
	if c.value == nil {
		d.table(c.table).Delete(item{key: c.key})
		return nil
	}
	now := item{c.key, c.value}
	d.sum.add(d.sealer.of(c.table, now.key, now.value))
	d.size += cost(now.key, now.value)
	d.table(c.table).ReplaceOrInsert(now)
	return d.follow(c.table, now, true)
}

// follow keeps the tables that follow from others.
func (d *draft) follow(t names.Table, it item, put bool) error {
	entries, err := names.Follow(t, it.key, it.value)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if put {
			d.table(e.Table).ReplaceOrInsert(item{key: e.Key})
		} else {
			d.table(e.Table).Delete(item{key: e.Key})
		}
	}
	return nil
}

// verify says whether h is the head of what the draft has.
func (d *draft) verify(key []byte, h head) error {
	if !hmac.Equal([]byte(h.seal(key, d.sum)), []byte(h.MAC)) {
		return foreign("what is in etcd is not what the nodes of this relay have written, or this node has another key")
	}
	return nil
}

// done makes the draft a state with a head.
func (d *draft) done(h head, rev int64) *state {
	return &state{tables: d.tables, sum: d.sum, size: d.size, head: h, rev: rev, newer: make(chan struct{}), told: make(chan struct{})}
}

// emptyState is a record without entries.
func emptyState() *state {
	s := &state{tables: make(map[names.Table]*tree), newer: make(chan struct{})}
	for _, list := range [][]names.Table{names.Kept(), names.Following()} {
		for _, t := range list {
			s.tables[t] = newTree()
		}
	}
	return s
}

// changed returns the tables of which a list has changes, and those that follow.
func changed(list []change) (tables []names.Table) {
	seen := make(map[names.Table]bool)
	for _, c := range list {
		if !seen[c.table] {
			seen[c.table] = true
			tables = append(tables, c.table)
		}
	}
	return tables
}

// foreign says that others than the nodes have written to the record.
func foreign(text string) error {
	return hint.RecordForeign.Error(fmt.Errorf("%w: %s", names.ErrDamaged, text))
}

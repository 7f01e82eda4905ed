package record

import (
	"bytes"
	"iter"
	"slices"
	"time"

	"keystay/relay/names"
)

// A tx is a transaction: on a state, or on a draft, which it may change.
type tx struct {
	tables map[names.Table]*tree
	draft  *draft // nil for one that reads
	now    time.Time
}

var _ names.Tx = (*tx)(nil)

// Now is the record's time.
func (t *tx) Now() time.Time { return t.now }

// Get returns the value of a key, or nil. It is not nil where there is an empty one.
func (t *tx) Get(table names.Table, key []byte) []byte {
	it, ok := t.tables[table].Get(item{key: key})
	if ok && it.value == nil {
		return []byte{}
	}
	return it.value
}

// Set gives a key a value. What follows from others is kept here, and so not set.
func (t *tx) Set(table names.Table, key, value []byte) error {
	if slices.Contains(names.Following(), table) {
		return nil
	}
	c := change{table: table, key: bytes.Clone(key)}
	if value != nil {
		c.value = append([]byte{}, value...)
	}
	return t.draft.set(c)
}

// From returns the entries from a key on.
func (t *tx) From(table names.Table, key []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		t.tables[table].AscendGreaterOrEqual(item{key: key}, func(it item) bool { return yield(it.key, it.value) })
	}
}

// Last returns the greatest key, or nil.
func (t *tx) Last(table names.Table) []byte {
	it, _ := t.tables[table].Max()
	return it.key
}

// Count is how many entries a table has.
func (t *tx) Count(table names.Table) int { return t.tables[table].Len() }

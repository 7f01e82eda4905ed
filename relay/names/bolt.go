package names

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// boltTables are the tables that a file has. A table has its sum at the same place
// in state.Sums, so a new table is added at the end.
//
// The first four are those of older versions. Such a version can go on with the
// file, after a takeover that has failed or when somebody steps back to it. What it
// writes is noticed by the number of its transaction; then the tables that follow
// from the first are made anew. It leaves the other tables alone.
var boltTables = []Table{tableGrants, tableHolders, tableBelow, tableAges,
	tableLapses, tableBans, tableReserved, tableTokens, tableIssued, tableUsage, tableRetired}

// tableState has what the file says about itself. It is no table of the record.
var tableState = []byte("state") // "state" -> state

// A state is what the record says about itself.
type state struct {
	Tx   int       `json:"tx"`   // the transaction that wrote it, the last of all
	Ran  time.Time `json:"ran"`  // the record's time then
	Wall time.Time `json:"wall"` // what the machine's clock said then
	// Sums has for each of boltTables the sum of its entries, so that a loss is
	// noticed that leaves the file in good form. A version that had fewer tables
	// wrote fewer.
	Sums []uint64 `json:"sums"`
}

// A boltTx is a transaction of the file.
type boltTx struct {
	tx      *bbolt.Tx
	now     time.Time
	state   state // Sums are kept up to date; the rest is that of the last transaction
	older   int   // how many tables the version that wrote it had, when that are fewer; else 0
	changed []Table
	written bool     // the state is to be written, even if no table has changed
	made    []string // by rebuild: names whose first label is made from their holder's key
}

// readState reads what the record says about itself. Whole is false when the record
// is new, or when an older version has written to it: then it is to be rebuilt.
func (t *boltTx) readState() (whole bool, err error) {
	t.state.Sums = make([]uint64, len(boltTables))
	b := t.tx.Bucket(tableState)
	if b == nil {
		return false, nil
	}
	v := b.Get(tableState)
	var s state
	if len(v) < 8 || binary.BigEndian.Uint64(v) != sum(v[8:], nil) || json.Unmarshal(v[8:], &s) != nil || len(s.Sums) > len(boltTables) {
		return false, fmt.Errorf("%w: its state is not what was written", ErrDamaged)
	}
	if missing := len(boltTables) - len(s.Sums); missing > 0 {
		t.older = len(s.Sums)
		s.Sums = append(s.Sums, make([]uint64, missing)...)
	}
	t.state = s
	id := t.tx.ID()
	return t.state.Tx == id || t.tx.Writable() && t.state.Tx == id-1, nil
}

// write ends a transaction that has changed something.
func (t *boltTx) write(wall time.Time) error {
	t.state.Tx, t.state.Ran, t.state.Wall = t.tx.ID(), t.now, wall
	b, err := json.Marshal(t.state)
	if err != nil {
		return err
	}
	return t.tx.Bucket(tableState).Put(tableState, append(binary.BigEndian.AppendUint64(nil, sum(b, nil)), b...))
}

// verify checks that every table is as it was written.
func (t *boltTx) verify() error {
	for i, name := range boltTables {
		if t.older > 0 && i >= t.older {
			break
		}
		if t.bucket(name) == nil {
			return fmt.Errorf("%w: it has no table %s", ErrDamaged, name)
		}
		if t.total(name) != t.state.Sums[i] {
			return fmt.Errorf("%w: the table %s is not what was written", ErrDamaged, name)
		}
	}
	return nil
}

// total computes the sum of a table.
func (t *boltTx) total(name Table) (total uint64) {
	for k, v := range t.From(name, nil) {
		total += sum(k, v)
	}
	return total
}

// castagnoli is the polynomial of the checksum that processors have an instruction
// for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is a checksum of an entry, against accidents and not against people. It has to
// be quick: at the start it is computed for each entry, of which there may be a
// million.
func sum(k, v []byte) uint64 {
	return uint64(crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v)) + uint64(len(k))<<32
}

func (t *boltTx) bucket(name Table) *bbolt.Bucket { return t.tx.Bucket([]byte(name)) }

// Now is the record's time.
func (t *boltTx) Now() time.Time { return t.now }

// Get returns the value of a key, or nil.
func (t *boltTx) Get(name Table, key []byte) []byte { return t.bucket(name).Get(key) }

// Set puts an entry into a table, or takes it out when value is nil, and keeps the
// table's sum and the number of its entries.
func (t *boltTx) Set(name Table, key, value []byte) error {
	i := slices.Index(boltTables, name)
	b := t.bucket(name)
	n := b.Sequence()
	if old := b.Get(key); old != nil {
		t.state.Sums[i] -= sum(key, old)
		n = max(n, 1) - 1
	}
	if !slices.Contains(t.changed, name) {
		t.changed = append(t.changed, name)
	}
	if value == nil {
		if err := b.Delete(key); err != nil {
			return err
		}
	} else {
		t.state.Sums[i] += sum(key, value)
		n++
		if err := b.Put(key, value); err != nil {
			return err
		}
	}
	if n == b.Sequence() {
		return nil
	}
	return b.SetSequence(n)
}

// From returns the entries from a key on.
func (t *boltTx) From(name Table, key []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		c := t.bucket(name).Cursor()
		for k, v := c.Seek(key); k != nil && yield(k, v); k, v = c.Next() {
		}
	}
}

// Last returns the greatest key, or nil.
func (t *boltTx) Last(name Table) []byte {
	k, _ := t.bucket(name).Cursor().Last()
	return k
}

// Count is how many entries a table has: the bucket's sequence.
func (t *boltTx) Count(name Table) int { return int(t.bucket(name).Sequence()) }

// rebuild makes the tables that follow from the grants: in a new record, and in
// one that an older version has written to. It makes the tables that the file does
// not have. It returns when the latest of the names was seen, or the zero time.
//
// Labels made from keys, which older versions kept here, are noted in t.made: see
// dropMade. Grants above or below those of another identity, which older versions
// gave out, are kept, and so each holder goes on.
func (t *boltTx) rebuild() (latest time.Time, err error) {
	if err := t.emptyFollowing(); err != nil {
		return latest, err
	}
	t.state.Sums = make([]uint64, len(boltTables))
	entries := make(map[Table][][]byte)
	n := uint64(0)
	for k, v := range t.From(tableGrants, nil) {
		name := string(k)
		gr, err := parseStored(name, v)
		if err != nil {
			return latest, err
		}
		if madeFrom(name, gr.Key) {
			t.made = append(t.made, name)
		}
		n++
		for _, e := range gr.entries(name) {
			entries[e.Table] = append(entries[e.Table], e.Key)
		}
		if gr.Seen.After(latest) {
			latest = gr.Seen
		}
	}
	for table, keys := range entries {
		if err := t.fill(table, keys); err != nil {
			return latest, err
		}
	}
	for i, name := range boltTables {
		t.state.Sums[i] = t.total(name)
	}
	t.written = true
	return latest, t.bucket(tableGrants).SetSequence(n)
}

// fill puts entries into an empty table, in their order: within one transaction
// bbolt takes a time for each that grows with what comes after it.
func (t *boltTx) fill(table Table, keys [][]byte) error {
	slices.SortFunc(keys, bytes.Compare)
	b := t.bucket(table)
	for _, k := range keys {
		if err := b.Put(k, []byte{}); err != nil {
			return err
		}
	}
	return b.SetSequence(uint64(len(keys)))
}

// emptyFollowing empties the tables that follow from the grants, and the state, and
// makes those that there are not.
func (t *boltTx) emptyFollowing() error {
	for _, name := range []string{string(tableHolders), string(tableBelow), string(tableAges), string(tableLapses), string(tableState)} {
		if t.tx.Bucket([]byte(name)) != nil {
			if err := t.tx.DeleteBucket([]byte(name)); err != nil {
				return err
			}
		}
	}
	if _, err := t.tx.CreateBucketIfNotExists(tableState); err != nil {
		return err
	}
	return t.complete()
}

// complete makes the tables that a file of an older version does not have.
func (t *boltTx) complete() error {
	for _, name := range boltTables {
		if t.bucket(name) != nil {
			continue
		}
		if _, err := t.tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
		t.written = true
	}
	return nil
}

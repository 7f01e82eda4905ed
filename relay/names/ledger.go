package names

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// The tables of the record. The first two are those of older versions, which can
// go on with the file: after a takeover that has failed, or a step back. What
// such a version writes is noticed by the number of its transaction, and the
// other tables are made anew from the first.
var (
	tableGrants  = []byte("grants")  // name -> grant; the sequence is how many there are
	tableHolders = []byte("holders") // key, name -> nothing: the names of a key
	tableBelow   = []byte("below")   // labels in reverse -> nothing: what is below a name
	tableAges    = []byte("ages")    // time when it was seen, name -> nothing: the oldest first
	tableState   = []byte("state")   // "state" -> state

	tables = [][]byte{tableGrants, tableHolders, tableBelow, tableAges}
)

// maxBelow is how many names below one are looked at. Those that count are of
// the holder itself, which has MaxNamesPerIdentity at most; more are left over
// from expired grants, and are swept.
const maxBelow = 2 * MaxNamesPerIdentity

// A grant is the stored form of who may use a name.
type grant struct {
	Key   []byte    `json:"key"`
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
}

// A state is what the record says about itself.
type state struct {
	Tx   int       `json:"tx"`   // the transaction that wrote it, the last of all
	Ran  time.Time `json:"ran"`  // the record's time then
	Wall time.Time `json:"wall"` // what the machine's clock said then
	// Sums has for each table the sum of its entries, so that a loss is noticed
	// that leaves the file in good form.
	Sums [4]uint64 `json:"sums"`
}

// A ledger is the record within one transaction.
type ledger struct {
	tx      *bbolt.Tx
	now     time.Time // the record's
	state   state     // Sums are kept up to date; the rest is that of the last transaction
	changed bool
	made    []string // by rebuild: names whose first label is made from their holder's key
}

// readState reads what the record says about itself. The record is not whole when
// it is new, or when an older version has written to it: then it is to be rebuilt.
func (l *ledger) readState() (whole bool, err error) {
	b := l.tx.Bucket(tableState)
	if b == nil {
		return false, nil
	}
	v := b.Get(tableState)
	if len(v) < 8 || binary.BigEndian.Uint64(v) != sum(v[8:], nil) || json.Unmarshal(v[8:], &l.state) != nil {
		return false, fmt.Errorf("%w: its state is not what was written", ErrDamaged)
	}
	id := l.tx.ID()
	return l.state.Tx == id || l.tx.Writable() && l.state.Tx == id-1, nil
}

// write ends a transaction that has changed something.
func (l *ledger) write(wall time.Time) error {
	l.state.Tx, l.state.Ran, l.state.Wall = l.tx.ID(), l.now, wall
	b, err := json.Marshal(l.state)
	if err != nil {
		return err
	}
	return l.tx.Bucket(tableState).Put(tableState, append(binary.BigEndian.AppendUint64(nil, sum(b, nil)), b...))
}

// verify checks that every table is as it was written.
func (l *ledger) verify() error {
	for i, name := range tables {
		b := l.tx.Bucket(name)
		if b == nil {
			return fmt.Errorf("%w: it has no table %s", ErrDamaged, name)
		}
		var total uint64
		for c, k, v := cursor(b); k != nil; k, v = c.Next() {
			total += sum(k, v)
		}
		if total != l.state.Sums[i] {
			return fmt.Errorf("%w: the table %s is not what was written", ErrDamaged, name)
		}
	}
	return nil
}

func cursor(b *bbolt.Bucket) (c *bbolt.Cursor, k, v []byte) {
	c = b.Cursor()
	k, v = c.First()
	return c, k, v
}

// castagnoli is the polynomial that processors compute by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is a checksum against accidents: with a million entries it is computed a
// million times at the start.
func sum(k, v []byte) uint64 {
	return uint64(crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v)) + uint64(len(k))<<32
}

// set puts an entry into a table, or takes it out when v is nil, and keeps the
// table's sum.
func (l *ledger) set(table []byte, k, v []byte) error {
	i := slices.IndexFunc(tables, func(t []byte) bool { return bytes.Equal(t, table) })
	b := l.tx.Bucket(table)
	if old := b.Get(k); old != nil {
		l.state.Sums[i] -= sum(k, old)
	}
	l.changed = true
	if v == nil {
		return b.Delete(k)
	}
	l.state.Sums[i] += sum(k, v)
	return b.Put(k, v)
}

// raw returns the grant of name, expired or not, or nil.
func (l *ledger) raw(name string) (*grant, error) {
	b := l.tx.Bucket(tableGrants).Get([]byte(name))
	if b == nil {
		// Both tables would have to be damaged for a name to look free.
		if l.tx.Bucket(tableBelow).Get(reversed(name)) != nil {
			return nil, fmt.Errorf("%w: the grant of a name is missing", ErrDamaged)
		}
		return nil, nil
	}
	return parseGrant(b)
}

func parseGrant(b []byte) (*grant, error) {
	var gr grant
	if err := json.Unmarshal(b, &gr); err != nil || len(gr.Key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a grant cannot be read", ErrDamaged)
	}
	return &gr, nil
}

// get returns the grant of name, or nil: one that has expired is none.
func (l *ledger) get(name string) (*grant, error) {
	gr, err := l.raw(name)
	if gr != nil && l.expired(gr.Seen) {
		gr = nil
	}
	return gr, err
}

func (l *ledger) expired(seen time.Time) bool { return l.now.Sub(seen) > GrantTime }

// below reports whether anybody else than key holds a name below name.
func (l *ledger) below(name string, key []byte) (other bool, err error) {
	start := append(reversed(name), '.')
	c := l.tx.Bucket(tableBelow).Cursor()
	n := 0
	for k, _ := c.Seek(start); bytes.HasPrefix(k, start); k, _ = c.Next() {
		if n++; n > maxBelow {
			return false, errTooMany
		}
		gr, err := l.get(string(reversed(string(k))))
		if err != nil {
			return false, err
		}
		if gr != nil && !bytes.Equal(gr.Key, key) {
			return true, nil
		}
	}
	return false, nil
}

// put writes that the identity was seen with name now.
func (l *ledger) put(name string, key []byte) error {
	old, err := l.raw(name)
	if err != nil {
		return err
	}
	since := l.now
	if old != nil && bytes.Equal(old.Key, key) && !l.expired(old.Seen) {
		since = old.Since
	}
	if old != nil {
		if err := l.drop(name, old); err != nil {
			return err
		}
	}
	b, err := json.Marshal(grant{Key: key, Since: since, Seen: l.now})
	if err != nil {
		return err
	}
	if err := l.set(tableGrants, []byte(name), b); err != nil {
		return err
	}
	return l.index(name, &grant{Key: key, Seen: l.now}, []byte{})
}

// drop takes a grant out.
func (l *ledger) drop(name string, gr *grant) error {
	if err := l.set(tableGrants, []byte(name), nil); err != nil {
		return err
	}
	return l.index(name, gr, nil)
}

// index keeps the other tables, and the number of grants: v is empty for a grant
// that is put and nil for one that is dropped.
func (l *ledger) index(name string, gr *grant, v []byte) error {
	b := l.tx.Bucket(tableGrants)
	n := b.Sequence() + 1
	if v == nil {
		n = max(b.Sequence(), 1) - 1
	}
	if err := b.SetSequence(n); err != nil {
		return err
	}
	for i, entry := range entriesOf(name, gr) {
		if err := l.set(tables[1+i], entry, v); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf returns the entries of a grant in the tables after the first.
func entriesOf(name string, gr *grant) [3][]byte {
	return [3][]byte{slices.Concat(gr.Key, []byte(name)), reversed(name), ageKey(gr.Seen, name)}
}

// ageKey sorts names by when they were seen.
func ageKey(seen time.Time, name string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(max(seen.Unix(), 0))), name...)
}

// reversed returns a name with its labels in reverse, so that the names below one
// stand together; and a reversed one as it was.
func reversed(name string) []byte {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return []byte(strings.Join(labels, "."))
}

// held counts the names of an identity: those that have not expired.
func (l *ledger) held(key []byte) (n int, err error) {
	c := l.tx.Bucket(tableHolders).Cursor()
	for k, _ := c.Seek(key); k != nil && bytes.HasPrefix(k, key); k, _ = c.Next() {
		gr, err := l.get(string(k[len(key):]))
		if err != nil {
			return 0, err
		}
		if gr != nil {
			n++
		}
	}
	return n, nil
}

// full reports whether MaxGrants names are given out: one that has expired does
// not count.
func (l *ledger) full() bool {
	if l.tx.Bucket(tableGrants).Sequence() < MaxGrants {
		return false
	}
	_, oldest, _ := cursor(l.tx.Bucket(tableAges))
	return oldest == nil || !l.expired(seenOf(oldest))
}

// sweepNext returns the entry of tableAges that is to be swept next, or nil: the
// oldest, when it has expired, or one that seems to be from the future.
func (l *ledger) sweepNext() (age []byte, expired bool) {
	c, age, _ := cursor(l.tx.Bucket(tableAges))
	if age == nil || l.expired(seenOf(age)) {
		return age, true
	}
	if age, _ = c.Last(); seenOf(age).After(l.now.Add(clockSlack)) {
		return age, false
	}
	return nil, false
}

// sweep drops up to limit grants that have expired, the oldest first, and
// returns how many it has changed. A grant from the future, by a clock that was
// wrong, is noted as seen now.
func (l *ledger) sweep(limit int) (n int, err error) {
	for ; n < limit; n++ {
		age, expired := l.sweepNext()
		if age == nil {
			break
		}
		if len(age) < 8 {
			return n, fmt.Errorf("%w: an age without a name", ErrDamaged)
		}
		name := string(age[8:])
		gr, err := l.raw(name)
		switch {
		case err != nil:
			return n, err
		case gr == nil || !bytes.Equal(ageKey(gr.Seen, name), age):
			return n, fmt.Errorf("%w: a name has two ages", ErrDamaged)
		case expired:
			err = l.drop(name, gr)
		default:
			err = l.put(name, gr.Key)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// seenOf is the time in a key of tableAges.
func seenOf(age []byte) time.Time {
	if len(age) < 8 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(age)), 0).UTC()
}

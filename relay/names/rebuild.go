package names

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"keystay/internal/keyname"
)

// nameBytes are those of a host name that is normal. What else makes a name may
// have been decided in another way when it was given out.
const nameBytes = "abcdefghijklmnopqrstuvwxyz0123456789-."

// rebuild makes every other table from the grants: in a new record, and in one
// that an older version has written to. It returns when the latest of the names
// was seen, or the zero time.
//
// Labels made from keys, which older versions kept here, are noted in l.made: see
// dropMade. Grants above or below those of another identity, which
// older versions gave out, are kept, and so each holder goes on.
func (l *ledger) rebuild() (latest time.Time, err error) {
	grants, err := l.tx.CreateBucketIfNotExists(tableGrants)
	if err != nil {
		return latest, err
	}
	if err := l.emptyAll(tableHolders, tableBelow, tableAges, tableState); err != nil {
		return latest, err
	}
	l.state.Sums = [4]uint64{}
	entries := make([][][]byte, len(tables)) // of the other tables
	n := uint64(0)
	for c, k, v := cursor(grants); k != nil; k, v = c.Next() {
		name := string(k)
		if name == "" || strings.Trim(name, nameBytes) != "" {
			return latest, fmt.Errorf("%w: it has a name that is none", ErrDamaged)
		}
		gr, err := parseGrant(v)
		if err != nil {
			return latest, err
		}
		if label, _, _ := strings.Cut(name, "."); label == keyname.Label(gr.Key, "") {
			l.made = append(l.made, name)
		}
		n++
		l.state.Sums[0] += sum(k, v)
		for i, entry := range entriesOf(name, gr) {
			entries[i] = append(entries[i], entry)
		}
		if gr.Seen.After(latest) {
			latest = gr.Seen
		}
	}
	for i, table := range tables[1:] {
		if err := l.fill(table, entries[i]); err != nil {
			return latest, err
		}
	}
	l.changed = true
	return latest, grants.SetSequence(n)
}

// begin notes the name below which all names are.
func (g *Grants) begin(zone string) {
	g.mu.Lock()
	g.zone = zone
	g.mu.Unlock()
	g.dropMade()
}

// dropMade drops the labels made from keys that rebuild has found: such a label
// proves itself. That holds directly below the zone alone. Further down a label is
// a name like any other, whatever it looks like. Where that fails the label has a
// grant, too, until that expires, which takes one place of MaxNamesPerIdentity.
func (g *Grants) dropMade() {
	g.mu.Lock()
	zone, made := g.zone, g.made
	if zone != "" {
		g.made = nil
	}
	g.mu.Unlock()
	if zone == "" || len(made) == 0 {
		return
	}
	_ = g.update(func(l *ledger) error {
		for _, name := range made {
			label, alone := madeBy(name, zone)
			gr, err := l.raw(name)
			if err == nil && alone && gr != nil && label == keyname.Label(gr.Key, "") {
				err = l.drop(name, gr)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// fill puts entries into an empty table, in their order: within one transaction
// bbolt takes a time for each that grows with what comes after it.
func (l *ledger) fill(table []byte, entries [][]byte) error {
	slices.SortFunc(entries, bytes.Compare)
	for _, k := range entries {
		if err := l.set(table, k, []byte{}); err != nil {
			return err
		}
	}
	return nil
}

// emptyAll makes tables, with nothing in them.
func (l *ledger) emptyAll(names ...[]byte) error {
	for _, name := range names {
		if l.tx.Bucket(name) != nil {
			if err := l.tx.DeleteBucket(name); err != nil {
				return err
			}
		}
		if _, err := l.tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

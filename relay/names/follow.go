package names

import "slices"

// An Entry is a key in a table that follows from another one. Its value is empty.
type Entry struct {
	Table Table
	Key   []byte
}

// Kept returns the tables that a store has to keep, in an order that does not change.
// What is in the others follows from them, see [Follow].
func Kept() []Table {
	return []Table{tableGrants, tableBans, tableReserved, tableTokens, tableIssued, tableUsage, tableRetired}
}

// Following returns the tables that follow from others.
func Following() []Table { return []Table{tableHolders, tableBelow, tableAges, tableLapses} }

// Follow returns what follows from one entry of a table that is kept. The error wraps
// [ErrDamaged] where the entry cannot be one of that table.
func Follow(t Table, key, value []byte) ([]Entry, error) {
	if t != tableGrants {
		return nil, nil
	}
	name := string(key)
	gr, err := parseStored(name, value)
	if err != nil {
		return nil, err
	}
	return gr.entries(name), nil
}

// entries returns those of the grant of name.
func (gr *grant) entries(name string) []Entry {
	age := Entry{tableAges, timeKey(gr.Seen, name)}
	if !gr.Until.IsZero() {
		age = Entry{tableLapses, timeKey(gr.Until, name)}
	}
	return []Entry{{tableHolders, slices.Concat(gr.Key, []byte(name))}, {tableBelow, reversed(name)}, age}
}

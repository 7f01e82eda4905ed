package names

import (
	"context"
	"iter"
	"log/slog"
	"time"
)

// A Store keeps the record: tables of keys with values, in the order of the keys,
// which are changed by transactions. It knows nothing of policies, so that what
// decides about names is the same above every store. A [Grants] is the store of
// one process.
type Store interface {
	// View runs f in a transaction that reads. What f sees does not change until
	// it returns.
	View(f func(Tx) error) error

	// Update runs f in a transaction that reads and writes, perhaps several times:
	// of two transactions at once the later one sees all of the first. An error of
	// f undoes what f has changed, and is returned.
	Update(f func(Tx) error) error

	// Watch makes f be called with each table that has changed, whoever has changed
	// it, once View shows the change. Where this process has made the change, f is
	// called before Update returns. f may be called for a table that has not
	// changed, at any time, and from several goroutines; it may call View.
	Watch(f func(Table))

	// Opened returns a channel that is closed when a store that is closed now is
	// open again, and nil for one that was never closed. While it is closed, View
	// and Update return an error that wraps [ErrClosed].
	Opened() <-chan struct{}

	// Begin is called once, before all else, with the name below which all names
	// of the relay are.
	Begin(zone string)

	// Whole says why nothing can be claimed now, or nil. It reads little.
	Whole() error

	// Upkeep does what the store itself needs once an hour.
	Upkeep(log *slog.Logger) error
}

// A SharedStore is a [Store] that other processes change while this one uses it.
type SharedStore interface {
	Store

	// Elsewhere makes f be called with each entry that another process has changed, once
	// View shows the change; and with a table and no key where any entry of the table may
	// have changed. f may be called for what this process has changed, too, and from
	// several goroutines.
	Elsewhere(f func(t Table, key []byte))

	// Fresh waits until View shows all that others had changed before the call. The error
	// says why it may not.
	Fresh(ctx context.Context) error
}

// A Tx is a transaction of a [Store]. Its keys and values are the store's: they may
// be read until the transaction ends, and not be changed. A read that fails returns
// nothing, and View or Update then returns the reason, whatever f returns.
type Tx interface {
	// Now is the record's time, in whole seconds, UTC. A wrong clock of the machine
	// does not move it.
	Now() time.Time

	// Get returns the value of a key, or nil.
	Get(t Table, key []byte) []byte

	// Set gives a key a value; nil takes it out of the table.
	Set(t Table, key, value []byte) error

	// From returns the entries of a table from a key on, in their order. The table
	// must not be changed before the loop has ended.
	From(t Table, key []byte) iter.Seq2[[]byte, []byte]

	// Last returns the greatest key of a table, or nil.
	Last(t Table) []byte

	// Count is how many entries a table has.
	Count(t Table) int
}

// A Table is the name of a table of the record.
type Table string

// The tables of the record. The first five say whose a name is. Of these the first
// has all, and the others are made from it.
const (
	tableGrants  Table = "grants"  // name -> grant
	tableHolders Table = "holders" // key, name -> nothing: the names of a key
	tableBelow   Table = "below"   // labels in reverse -> nothing: what is below a name
	tableAges    Table = "ages"    // time when it was seen, name -> nothing: the oldest first
	tableLapses  Table = "lapses"  // time until it is kept, name -> nothing: of grants that have lapsed

	tableBans     Table = "bans"     // see banKey -> Ban
	tableReserved Table = "reserved" // pattern -> Reservation
	tableTokens   Table = "tokens"   // SHA-256 of the secret -> token
	tableIssued   Table = "issued"   // name -> when its first certificate may be ordered
	tableUsage    Table = "usage"    // of whom -> bytes in a month
	tableRetired  Table = "retired"  // key of an identity that has handed over -> retirement
)

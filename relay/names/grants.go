package names

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"keystay/internal/hint"
)

const (
	// GrantTime is how long a name is kept for an identity that is not seen, where
	// Names.ExpireUnused does not say. It is the time of the record, which a wrong
	// clock does not move: see clock.
	GrantTime = 365 * 24 * time.Hour
	// GraceTime is how long a name that has lapsed, or was released, is kept from
	// other identities: the device that had it may hold a certificate that is valid
	// for so long (90 days is what Let's Encrypt gives).
	GraceTime = 90 * 24 * time.Hour
	// MaxNamesPerIdentity is how many names one identity may hold, without the
	// label made from its key.
	MaxNamesPerIdentity = 32
	// MaxGrants is how many names a relay gives out in all.
	MaxGrants = 1 << 20
	// seenStep is how exactly it is kept when a name was last used.
	seenStep = 24 * time.Hour
)

// ErrInUse is wrapped by the error of OpenGrants when another process has the
// file open.
var ErrInUse = errors.New("another relay uses this state_dir")

// ErrClosed is wrapped by the errors of a record that is closed: another process
// has it, or will have.
var ErrClosed = errors.New("the record of names is closed")

// Grants is the durable record of who may use which name, as the [Store] of one
// process: a file of bbolt.
//
// It may be closed and opened again while [Names] uses it. While it is closed nothing
// can be claimed, and visitors reach the names whose remotes are connected. When the
// record turns out to be damaged, that is so for good.
type Grants struct {
	path    string
	wall    func() time.Time // the machine's clock; nil is time.Now
	opening sync.Mutex       // one Reopen at a time

	mu     sync.RWMutex
	file   *recordFile // nil while closed
	clock  clock
	jump   string        // that the machine's clock has jumped; empty when that was told
	opened chan struct{} // closed when the file is opened again; nil before the first Close
	zone   string        // below which all names are; empty until Begin
	made   []string      // see dropMade
	watch  []func(Table) // what Watch was called with
}

var _ Store = (*Grants)(nil)

// damaged adds what to do about an error that says that the file is damaged.
func (g *Grants) damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return hint.RecordDamaged.Error(err, "FILE", g.path)
	}
	return err
}

func (g *Grants) isOpen() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.file != nil
}

// Opened returns a channel that is closed when a record that is closed now is
// open again.
func (g *Grants) Opened() <-chan struct{} {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.opened
}

// Close closes the record once nobody uses it. A second call does nothing.
func (g *Grants) Close() error {
	err := g.keepTime(0)
	if errors.Is(err, ErrClosed) {
		return nil
	}
	g.mu.Lock()
	f := g.file
	if f != nil {
		g.file, g.opened = nil, make(chan struct{})
	}
	g.mu.Unlock()
	if f == nil {
		return nil
	}
	return errors.Join(err, f.close())
}

// keepTime writes down the record's time and the machine's, if that was last
// done so long ago.
func (g *Grants) keepTime(ago time.Duration) error {
	return g.change(func(t *boltTx) error {
		t.written = t.now.Sub(t.state.Ran) >= ago
		return nil
	})
}

// use returns the open file and the record's time, until the caller is done.
func (g *Grants) use() (f *recordFile, now time.Time, done func(), err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.file == nil {
		return nil, now, nil, ErrClosed
	}
	g.file.users.Add(1)
	return g.file, g.clock.now(), g.file.users.Done, nil
}

// View runs f in a transaction that reads.
func (g *Grants) View(f func(Tx) error) error {
	file, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	return g.damaged(file.view(func(tx *bbolt.Tx) error { return f(&boltTx{tx: tx, now: now}) }))
}

// Update runs f in a transaction that writes.
func (g *Grants) Update(f func(Tx) error) error {
	return g.change(func(t *boltTx) error { return f(t) })
}

// change runs f in a transaction that writes, perhaps several times. An error
// undoes what f has changed.
func (g *Grants) change(f func(*boltTx) error) error {
	file, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	var changed []Table
	err = file.update(func(tx *bbolt.Tx) (bool, error) {
		t := &boltTx{tx: tx, now: now}
		whole, err := t.readState()
		if err == nil && !whole {
			err = fmt.Errorf("%w: another program has written to it", ErrDamaged)
		}
		if err == nil {
			err = f(t)
		}
		if err != nil || len(t.changed) == 0 && !t.written {
			return false, err
		}
		changed = t.changed
		return true, t.write(g.wall().UTC())
	})
	if err == nil {
		g.tell(changed)
	}
	return g.damaged(err)
}

// Whole says why nothing can be claimed now, or nil: the record is closed, or
// damaged, as far as that has been noticed or shows without reading all of it. It
// reads a few pages.
func (g *Grants) Whole() error {
	file, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	err = file.view(func(tx *bbolt.Tx) error {
		if err := file.reaches(tx.Size()); err != nil {
			return err
		}
		whole, err := (&boltTx{tx: tx, now: now}).readState()
		if err == nil && !whole {
			err = fmt.Errorf("%w: another program has written to it", ErrDamaged)
		}
		return err
	})
	if err == nil {
		err = file.inPlace(g.path) // which may pass, so the record is used on
	}
	return g.damaged(err)
}

// Watch makes f be called with each table that has changed.
func (g *Grants) Watch(f func(Table)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = append(g.watch, f)
}

// tell calls those that watch.
func (g *Grants) tell(changed []Table) {
	g.mu.RLock()
	list := g.watch
	g.mu.RUnlock()
	for _, f := range list {
		for _, t := range changed {
			f(t)
		}
	}
}

// Upkeep tells the log that the machine's clock has jumped, and once a day writes
// down the time.
func (g *Grants) Upkeep(log *slog.Logger) error {
	if jump := g.jumped(); jump != "" {
		log.Warn("the clock of this machine has jumped, or the relay was off for long: no name expires by that",
			"clock", jump, hint.Attr(hint.ClockJumped.Do))
	}
	return g.keepTime(seenStep)
}

// jumped says once that the machine's clock has jumped, or returns nothing.
func (g *Grants) jumped() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file == nil {
		return ""
	}
	text := g.jump
	g.jump = ""
	if now := g.clock.jumped(); text == "" {
		text = now
	}
	return text
}

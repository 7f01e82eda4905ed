package names

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"keystay/internal/hint"
)

const (
	// GrantTime is how long a name is kept for an identity that is not seen. It
	// is the time of the record, which a wrong clock does not move: see clock.
	GrantTime = 365 * 24 * time.Hour
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

// errClosed is the error of a record that is closed: another process has
// it, or will have.
var errClosed = errors.New("the record of names is closed")

// Grants is the durable record of who may use which name. A name is kept from
// its grant until its holder has not been seen for GrantTime.
//
// It may be closed and opened again while a Server uses it. Meanwhile nothing
// can be claimed, and visitors reach the names whose remotes are connected. So it
// is when the record turns out to be damaged, for good.
type Grants struct {
	file    string
	wall    func() time.Time // the machine's clock; nil is time.Now
	opening sync.Mutex       // one Reopen at a time

	mu     sync.RWMutex
	store  *store // nil while closed
	clock  clock
	jump   string        // that the machine's clock has jumped; empty when that was told
	opened chan struct{} // closed when store is opened again
	zone   string        // below which all names are; empty until begin
	made   []string      // see dropMade
}

// OpenGrants opens the record in dir, which it makes if need be. The caller
// closes it. The error wraps ErrInUse, or ErrDamaged when the file is not whole.
func OpenGrants(dir string) (*Grants, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w", err)
	}
	g := &Grants{file: filepath.Join(dir, "names.db")}
	if err := g.Reopen(); err != nil {
		return nil, err
	}
	return g, nil
}

// Reopen opens the record again after Close; if it is open, nothing happens.
func (g *Grants) Reopen() error {
	g.opening.Lock()
	defer g.opening.Unlock()
	if g.isOpen() {
		return nil
	}
	if g.wall == nil {
		g.wall = time.Now
	}
	s, err := openStore(g.file)
	var c clock
	var jump string
	var made []string
	if err == nil {
		c, jump, made, err = prepare(s, g.wall)
		if err != nil {
			_ = s.close()
		}
	}
	if err != nil {
		return g.damaged(fmt.Errorf("open %s: %w", g.file, err))
	}
	g.mu.Lock()
	g.store, g.clock, g.jump, g.made = s, c, jump, made
	if g.opened != nil {
		close(g.opened)
	}
	g.mu.Unlock()
	g.dropMade()
	return nil
}

// prepare checks the tables of a record, or makes them, and continues its time. It
// returns what rebuild has found.
func prepare(s *store, wall func() time.Time) (c clock, jump string, made []string, err error) {
	err = s.update(func(tx *bbolt.Tx) (bool, error) {
		l := &ledger{tx: tx}
		whole, err := l.readState()
		if err != nil {
			return false, err
		}
		ran, then := l.state.Ran, l.state.Wall
		if whole {
			err = l.verify()
		} else {
			ran, err = l.rebuild()
			if now := wall().UTC(); ran.IsZero() || ran.After(now) {
				ran = now
			}
			then = ran
		}
		if err != nil {
			return false, err
		}
		c, jump = startClock(ran, then, wall)
		l.now, made = c.now(), l.made
		return true, l.write(c.said)
	})
	return c, jump, made, err
}

// damaged adds what to do about an error that says that the file is damaged.
func (g *Grants) damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return hint.RecordDamaged.Error(err, "FILE", g.file)
	}
	return err
}

func (g *Grants) isOpen() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store != nil
}

// whenOpen returns a channel that is closed when a record that is closed now is
// open again.
func (g *Grants) whenOpen() <-chan struct{} {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.opened
}

// Close closes the record once nobody uses it. A second call does nothing.
func (g *Grants) Close() error {
	err := g.keepTime(0)
	if errors.Is(err, errClosed) {
		return nil
	}
	g.mu.Lock()
	s := g.store
	if s != nil {
		g.store, g.opened = nil, make(chan struct{})
	}
	g.mu.Unlock()
	if s == nil {
		return nil
	}
	return errors.Join(err, s.close())
}

// keepTime writes down the record's time and the machine's, if that was last
// done so long ago.
func (g *Grants) keepTime(ago time.Duration) error {
	return g.update(func(l *ledger) error {
		l.changed = l.now.Sub(l.state.Ran) >= ago
		return nil
	})
}

// use returns the open store and the record's time, until the caller is done.
func (g *Grants) use() (s *store, now time.Time, done func(), err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.store == nil {
		return nil, now, nil, errClosed
	}
	g.store.users.Add(1)
	return g.store, g.clock.now(), g.store.users.Done, nil
}

// view runs f in a transaction that reads.
func (g *Grants) view(f func(*ledger) error) error {
	s, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	return g.damaged(s.view(func(tx *bbolt.Tx) error { return f(&ledger{tx: tx, now: now}) }))
}

// update runs f in a transaction that writes, perhaps several times. An error
// undoes what f has changed.
func (g *Grants) update(f func(*ledger) error) error {
	s, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	return g.damaged(s.update(func(tx *bbolt.Tx) (bool, error) {
		l := &ledger{tx: tx, now: now}
		whole, err := l.readState()
		if err == nil && !whole {
			err = fmt.Errorf("%w: another program has written to it", ErrDamaged)
		}
		if err == nil {
			err = f(l)
		}
		if err != nil || !l.changed {
			return false, err
		}
		return true, l.write(g.wall().UTC())
	}))
}

// Whole says why nothing can be claimed now, or nil: the record is closed, or
// damaged, as far as that has been noticed or shows without reading all of it. It
// reads a few pages.
func (g *Grants) Whole() error {
	s, now, done, err := g.use()
	if err != nil {
		return err
	}
	defer done()
	err = s.view(func(tx *bbolt.Tx) error {
		if err := s.reaches(tx.Size()); err != nil {
			return err
		}
		whole, err := (&ledger{tx: tx, now: now}).readState()
		if err == nil && !whole {
			err = fmt.Errorf("%w: another program has written to it", ErrDamaged)
		}
		return err
	})
	if err == nil {
		err = s.inPlace(g.file) // which may pass, so the record is used on
	}
	return g.damaged(err)
}

// holder returns the identity that name belongs to, or nil.
func (g *Grants) holder(name string) (key ed25519.PublicKey, err error) {
	err = g.view(func(l *ledger) error {
		gr, err := l.get(name)
		if gr != nil {
			key = gr.Key // a copy
		}
		return err
	})
	return key, err
}

// A Holding is a name, and the identity that uses it now.
type Holding struct {
	Name string
	Key  ed25519.PublicKey
}

// renew notes that identities use their names now. Whoever was connected until
// now keeps its name even if the grant looks as if it had expired.
func (g *Grants) renew(list []Holding) error {
	stale := func(l *ledger, h Holding) (bool, error) {
		gr, err := l.raw(h.Name)
		return gr != nil && h.Key.Equal(ed25519.PublicKey(gr.Key)) && l.now.Sub(gr.Seen) >= seenStep, err
	}
	var old []Holding
	err := g.view(func(l *ledger) error {
		for _, h := range list {
			is, err := stale(l, h)
			if err != nil {
				return err
			}
			if is {
				old = append(old, h)
			}
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return g.update(func(l *ledger) error {
		for _, h := range old {
			is, err := stale(l, h)
			if is {
				err = l.put(h.Name, h.Key)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// sweepExpired drops up to limit grants that have expired, and reports whether
// there may be more.
func (g *Grants) sweepExpired(limit int) (more bool, err error) {
	err = g.view(func(l *ledger) error {
		next, _ := l.sweepNext()
		more = next != nil
		return nil
	})
	if err != nil || !more {
		return false, err
	}
	err = g.update(func(l *ledger) error {
		n, err := l.sweep(limit)
		more = n == limit
		return err
	})
	return more, err
}

// jumped says once that the machine's clock has jumped, or returns nothing.
func (g *Grants) jumped() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store == nil {
		return ""
	}
	text := g.jump
	g.jump = ""
	if now := g.clock.jumped(); text == "" {
		text = now
	}
	return text
}

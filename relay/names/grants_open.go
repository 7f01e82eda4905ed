package names

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"keystay/internal/keyname"
)

// OpenGrants opens the record in dir, which it makes if need be. The caller
// closes it. The error wraps ErrInUse, or ErrDamaged when the file is not whole.
func OpenGrants(dir string) (*Grants, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w", err)
	}
	g := &Grants{path: filepath.Join(dir, "names.db")}
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
	f, err := openFile(g.path)
	var c clock
	var jump string
	var made []string
	if err == nil {
		c, jump, made, err = prepare(f, g.wall)
		if err != nil {
			_ = f.close()
		}
	}
	if err != nil {
		return g.damaged(fmt.Errorf("open %s: %w", g.path, err))
	}
	g.mu.Lock()
	g.file, g.clock, g.jump, g.made = f, c, jump, made
	if g.opened != nil {
		close(g.opened)
	}
	g.mu.Unlock()
	g.dropMade()
	g.tell(boltTables)
	return nil
}

// prepare checks the tables of a record, or makes them, and continues its time. It
// returns what rebuild has found.
func prepare(f *recordFile, wall func() time.Time) (c clock, jump string, made []string, err error) {
	err = f.update(func(tx *bbolt.Tx) (bool, error) {
		t := &boltTx{tx: tx}
		whole, err := t.readState()
		if err != nil {
			return false, err
		}
		ran, then := t.state.Ran, t.state.Wall
		if whole {
			err = t.verify()
		}
		if err == nil && (!whole || t.older > 0) {
			var latest time.Time
			if latest, err = t.rebuild(); !whole {
				ran = latest
				if now := wall().UTC(); ran.IsZero() || ran.After(now) {
					ran = now
				}
				then = ran
			}
		}
		if err != nil {
			return false, err
		}
		c, jump = startClock(ran, then, wall)
		t.now, made = c.now(), t.made
		return true, t.write(c.said)
	})
	return c, jump, made, err
}

// Begin notes the name below which all names are.
func (g *Grants) Begin(zone string) {
	g.mu.Lock()
	g.zone = zone
	g.mu.Unlock()
	g.dropMade()
}

// dropMade drops the labels made from keys that rebuild has found: such a label
// proves itself. That holds directly below the zone alone. Further down a label is
// a name like any other, whatever it looks like. Where that fails the label has a
// grant, too, until that expires, which takes one place of the identity's.
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
	_ = g.Update(func(tx Tx) error {
		l := &ledger{Tx: tx}
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

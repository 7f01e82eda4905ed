package names

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"time"
)

// Backdate moves the time when a name was last seen into the past.
func (g *Grants) Backdate(name string, by time.Duration) error {
	return g.update(func(l *ledger) error {
		gr, err := l.raw(name)
		if err != nil {
			return err
		}
		was := *l
		l.now = gr.Seen.Add(-by)
		err = l.put(name, gr.Key)
		l.now = was.now
		return err
	})
}

// SetCount pretends that n names were given out.
func (g *Grants) SetCount(n uint64) error {
	return g.update(func(l *ledger) error {
		l.changed = true
		return l.tx.Bucket(tableGrants).SetSequence(n)
	})
}

// Count is how many names were given out.
func (g *Grants) Count() (n uint64) {
	g.view(func(l *ledger) error {
		n = l.tx.Bucket(tableGrants).Sequence()
		return nil
	})
	return n
}

// Give gives names to an identity, whatever else there is, as seen age ago.
func (g *Grants) Give(key []byte, age time.Duration, names ...string) error {
	return g.update(func(l *ledger) (err error) {
		was := l.now
		l.now = was.Add(-age)
		for _, name := range names {
			err = errors.Join(err, l.put(name, key))
		}
		l.now = was
		return err
	})
}

// Writes is how many transactions were written.
func (g *Grants) Writes() (n int) {
	g.view(func(l *ledger) error { n = l.tx.ID(); return nil })
	return n
}

// File is the file of the record.
func (g *Grants) File() string { return g.file }

// Sweep drops what has expired.
func (g *Grants) Sweep() error {
	_, err := g.sweepExpired(upkeepBatch)
	return err
}

// KeepUp looks after the record while key is connected for the names.
func (n *Names) KeepUp(ctx context.Context, connected []string, key ed25519.PublicKey, log *slog.Logger) {
	n.Upkeep(ctx, func() (list []Holding) {
		for _, name := range connected {
			list = append(list, Holding{name, key})
		}
		return list
	}, log)
}

// Fail makes a change and then fails.
func (g *Grants) Fail() error {
	return g.update(func(l *ledger) error {
		return errors.Join(l.put("failed.relay.test", make([]byte, 32)), errors.New("it fails"))
	})
}

// SetClock makes wall the machine's clock, from the next Reopen on.
func (g *Grants) SetClock(wall func() time.Time) { g.wall = wall }

// PanicInView makes a mistake in a transaction that reads.
func (g *Grants) PanicInView() error {
	return g.view(func(l *ledger) error { panic("a mistake") })
}

// PanicInUpdate writes something and then makes a mistake.
func (g *Grants) PanicInUpdate() error {
	return g.update(func(l *ledger) error {
		if err := l.put("half.relay.test", make([]byte, 32)); err != nil {
			return err
		}
		none := make([]byte, len(l.state.Sums))
		_ = none[len(l.state.Sums)]
		return nil
	})
}

// Held is how many names a key has.
func (g *Grants) Held(key []byte) (n int, err error) {
	err = g.view(func(l *ledger) error {
		n, err = l.held(key)
		return err
	})
	return n, err
}

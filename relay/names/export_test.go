package names

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"keystay/internal/hostname"
)

// at is a transaction at another time.
type at struct {
	Tx
	now time.Time
}

func (a at) Now() time.Time { return a.now }

// write runs f in a transaction of a process without rules.
func (g *Grants) write(f func(*ledger) error) error {
	return g.Update(func(tx Tx) error { return f(&ledger{Tx: tx}) })
}

// Backdate moves the time when a name was last seen into the past.
func (g *Grants) Backdate(name string, by time.Duration) error {
	return g.write(func(l *ledger) error {
		gr, err := l.raw(name)
		if err != nil {
			return err
		}
		past := ledger{Tx: at{l.Tx, gr.Seen.Add(-by)}}
		return past.seen(name, gr)
	})
}

// Retire has so many identities hand over.
func (g *Grants) Retire(n int) error {
	return g.write(func(l *ledger) (err error) {
		for i := range n {
			key := make([]byte, ed25519.PublicKeySize)
			copy(key, fmt.Sprint(i))
			err = errors.Join(err, l.retire(key, key, new(handedOver)))
		}
		return err
	})
}

// SetCount pretends that n names were given out.
func (g *Grants) SetCount(n uint64) error {
	return g.change(func(t *boltTx) error {
		t.written = true
		return t.bucket(tableGrants).SetSequence(n)
	})
}

// Count is how many names were given out.
func (g *Grants) Count() (n uint64) {
	g.View(func(tx Tx) error {
		n = uint64(tx.Count(tableGrants))
		return nil
	})
	return n
}

// Give gives names to an identity, whatever else there is, as seen age ago.
func (g *Grants) Give(key []byte, age time.Duration, names ...string) error {
	return g.write(func(l *ledger) (err error) {
		seen := l.Now().Add(-age)
		for _, name := range names {
			err = errors.Join(err, l.put(name, &grant{Key: key, Since: seen, Seen: seen}))
		}
		return err
	})
}

// Writes is how many transactions were written.
func (g *Grants) Writes() (n int) {
	g.View(func(tx Tx) error { n = tx.(*boltTx).tx.ID(); return nil })
	return n
}

// MaxReserved is how many patterns there may be.
const MaxReserved = maxReserved

// Reserve reserves the patterns p0 and so on, all of them at once.
func (g *Grants) Reserve(n int) error {
	return g.write(func(l *ledger) (err error) {
		for i := range n {
			b, _ := json.Marshal(Reservation{Pattern: fmt.Sprintf("p%d", i)})
			err = errors.Join(err, l.Set(tableReserved, fmt.Appendf(nil, "p%d", i), b))
		}
		return err
	})
}

// File is the file of the record.
func (g *Grants) File() string { return g.path }

// Sweep drops what has expired.
func (g *Grants) Sweep() error {
	_, err := (&Names{Grants: g}).sweepExpired(upkeepBatch)
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
	return g.write(func(l *ledger) error {
		return errors.Join(l.put("failed.relay.test", &grant{Key: make([]byte, 32), Seen: l.Now()}), errors.New("it fails"))
	})
}

// SetClock makes wall the machine's clock, from the next Reopen on.
func (g *Grants) SetClock(wall func() time.Time) { g.wall = wall }

// PanicInView makes a mistake in a transaction that reads.
func (g *Grants) PanicInView() error {
	return g.View(func(Tx) error { panic("a mistake") })
}

// PanicInUpdate writes something and then makes a mistake.
func (g *Grants) PanicInUpdate() error {
	return g.write(func(l *ledger) error {
		if err := l.put("half.relay.test", &grant{Key: make([]byte, 32), Seen: l.Now()}); err != nil {
			return err
		}
		none := make([]byte, len(boltTables))
		_ = none[len(boltTables)]
		return nil
	})
}

// Held is how many names a key has.
func (g *Grants) Held(key []byte) (n int, err error) {
	err = g.View(func(tx Tx) error {
		n, err = (&ledger{Tx: tx}).heldOrKept(key)
		return err
	})
	return n, err
}

// Holder is whose a name is.
func (g *Grants) Holder(name string) (key []byte, err error) {
	return (&Names{Grants: g}).holder(name)
}

// CheckDomain asks DNS again for a domain that an identity may have.
func (n *Names) CheckDomain(ctx context.Context, h Holding) error {
	if hostname.IsBelow(h.Name, n.zone) {
		return nil
	}
	return n.recheck(ctx, h)
}

// The times of proofs.
const (
	ProofAge    = proofAge
	LostAfter   = lostAfter
	SilentAfter = silentAfter
	SeenStep    = seenStep
)

// PortsLike are the ports of a range in the order in which they are given to whoever asks
// for one.
func PortsLike(p Ports, port uint16) iter.Seq[uint16] { return p.like(port) }

// ParseStored says why a name cannot be in the record.
func ParseStored(name string) error {
	b, _ := json.Marshal(grant{Key: make([]byte, ed25519.PublicKeySize)})
	_, err := parseStored(name, b)
	return err
}

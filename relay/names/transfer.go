package names

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// ErrNotEmpty is wrapped by the error of Transfer where something would be overwritten.
var ErrNotEmpty = errors.New("there is a record with something in it already")

// Transfer copies all of one record into another one that is empty, in one transaction,
// and returns how many entries each table has. The other record's time becomes the first
// one's, or stays where it is further on. Nobody uses either meanwhile.
func Transfer(from, to Store) (counts map[Table]int, err error) {
	all := make(map[Table][][2][]byte)
	var now time.Time
	err = from.View(func(tx Tx) error {
		now = tx.Now()
		for _, t := range Kept() {
			for k, v := range tx.From(t, nil) {
				all[t] = append(all[t], [2][]byte{bytes.Clone(k), bytes.Clone(v)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if g, ok := to.(*Grants); ok {
		g.setTime(now)
	}
	err = to.Update(func(tx Tx) error {
		counts = make(map[Table]int)
		l := &ledger{Tx: tx}
		for _, t := range Kept() {
			if n := l.Count(t); n > 0 {
				return fmt.Errorf("%w: %d %s", ErrNotEmpty, n, t)
			}
			counts[t] = len(all[t])
			for _, e := range all[t] {
				if err := l.transfer(t, e[0], e[1]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return counts, err
}

// transfer writes an entry as another record has it, and what follows from it.
func (l *ledger) transfer(t Table, key, value []byte) error {
	follow, err := Follow(t, key, value)
	if err != nil {
		return err
	}
	if err := l.Set(t, key, value); err != nil {
		return err
	}
	for _, e := range follow {
		if err := l.Set(e.Table, e.Key, []byte{}); err != nil {
			return err
		}
	}
	return nil
}

// setTime makes now the record's time.
func (g *Grants) setTime(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clock.base, g.clock.at = now, time.Now()
}

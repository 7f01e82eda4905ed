package names

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"keystay/internal/hint"
)

const (
	// upkeepEvery is how often the record of names is looked after.
	upkeepEvery = time.Hour
	// upkeepBatch is how many names are noted as seen, or swept, in one
	// transaction: others wait for it.
	upkeepBatch = 256
)

// Upkeep looks after the record at the start and then every hour, until ctx ends:
// it notes that those who are connected use their names, and drops what has
// expired. In this order, so that nothing is dropped that somebody uses. The
// function connected returns who is connected for which names.
func (n *Names) Upkeep(ctx context.Context, connected func() []Holding, log *slog.Logger) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		err := n.lookAfter(ctx, connected())
		if err == nil {
			err = n.Grants.Upkeep(log)
		}
		// Closed, the record is another process's to look after.
		if err != nil && !errors.Is(err, ErrClosed) {
			log.Error("cannot look after the record of names", "err", err, hint.Attr(hint.All(err)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Names) lookAfter(ctx context.Context, connected []Holding) error {
	for some := range slices.Chunk(connected, upkeepBatch) {
		if err := n.renew(some); err != nil {
			return err
		}
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = n.sweepExpired(upkeepBatch); err != nil {
			return err
		}
	}
	return n.sweepRest()
}

// sweepRest takes out bans that are over, slots, and hand-overs.
func (n *Names) sweepRest() error {
	return n.update(func(l *ledger) error {
		if err := l.sweepBans(); err != nil {
			return err
		}
		if err := l.sweepSlots(upkeepBatch); err != nil {
			return err
		}
		return l.sweepRetired(upkeepBatch)
	})
}

// sweepExpired sweeps up to limit grants, and reports whether there may be more.
func (n *Names) sweepExpired(limit int) (more bool, err error) {
	err = n.view(func(l *ledger) error {
		_, gr, err := l.sweepNext()
		more = gr != nil
		return err
	})
	if err != nil || !more {
		return false, err
	}
	var expired []Change
	err = n.update(func(l *ledger) error {
		expired = nil
		swept, err := l.sweep(limit, noteExpired(&expired))
		more = swept == limit
		return err
	})
	if err == nil {
		for _, e := range expired {
			n.changed(e)
		}
	}
	return more, err
}

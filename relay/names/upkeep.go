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
// it notes that those who are connected use their names, drops what has expired,
// and once a day writes down the time. In this order, so that nothing is dropped that
// somebody uses. The function connected returns who is connected for which names.
func (n *Names) Upkeep(ctx context.Context, connected func() []Holding, log *slog.Logger) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if jump := n.Grants.jumped(); jump != "" {
			log.Warn("the clock of this machine has jumped, or the relay was off for long: no name expires by that",
				"clock", jump, hint.Attr(hint.ClockJumped.Do))
		}
		err := n.lookAfter(ctx, connected())
		// Closed, the record is another process's to look after.
		if err != nil && !errors.Is(err, errClosed) {
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
		if err := n.Grants.renew(some); err != nil {
			return err
		}
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = n.Grants.sweepExpired(upkeepBatch); err != nil {
			return err
		}
	}
	return n.Grants.keepTime(seenStep)
}

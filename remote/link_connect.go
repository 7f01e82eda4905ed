package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keystay/framing"
	"keystay/internal/plain"
)

// tellAfter is after how long the log tells of an attempt that is not over.
const tellAfter = 2 * time.Second

// A reached is a relay that has answered.
type reached struct {
	relay   string
	refused error // it lets this remote not in, and the rest is zero
	link    *framing.Link
	welcome framing.Welcome
	ends    <-chan error // why the relay ends the session
}

// connect links to the relay: to the one that gave the name before, or to one
// of those that it may be.
func (w *way) connect(ctx context.Context) (*reached, error) {
	candidates := w.candidates
	w.mu.Lock()
	if len(w.gave) > 0 {
		candidates = []string{w.relay}
	}
	w.mu.Unlock()
	slow := time.AfterFunc(tellAfter, func() {
		if down, _ := w.line.down(); down && w.outage.tellsReason("slow", false) {
			w.d.log.Info("waiting for the relay's answer", "relay", w.name())
		}
	})
	defer slow.Stop()
	r, err := firstAnswer(ctx, candidates, w.try)
	if err != nil {
		return nil, err
	}
	w.answered(r.relay)
	return r, r.refused
}

// try links to one candidate. A refusal is an answer, too.
func (w *way) try(ctx context.Context, relay string) (*reached, error) {
	ends := make(chan error, 1)
	report := func(err error) {
		select {
		case ends <- err:
		default:
		}
	}
	link, welcome, err := w.link(ctx, relay, framing.Handler{
		Panics: w.d.panics,
		Pool:   w.d.pool,
		Lost:   func(d *framing.Denial) { report(d) },
		GoAway: func(g framing.GoAway) {
			if g.Code == framing.GoAwayTakeover {
				report(errMoved)
			}
			report(draining(g)) // heard only if it is the first
		},
	})
	var refused *framing.Refusal
	switch {
	case errors.As(err, &refused):
		return &reached{relay: relay, refused: err}, nil
	case err != nil:
		return nil, &NoRelayError{Relay: relay, Err: err, rooted: w.d.cfg.RelayRoots != nil}
	}
	return &reached{relay: relay, link: link, welcome: welcome, ends: ends}, nil
}

// draining is why a session ends whose relay goes away, in the relay's words.
func draining(g framing.GoAway) error {
	if g.Text == "" {
		return errDraining
	}
	return fmt.Errorf("%w: %s", errDraining, plain.Text(g.Text))
}

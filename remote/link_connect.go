package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	ends    <-chan error  // why the relay ends the session
	news    chan struct{} // names were lost, or others are wanted; holds one
	first   bool          // it was the first link to come up

	mu   sync.Mutex
	lost []*framing.Denial // names that the relay has taken back
}

// tell makes the session look what is new.
func (r *reached) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// lose notes that the relay has taken a name back.
func (r *reached) lose(why *framing.Denial) {
	r.mu.Lock()
	r.lost = append(r.lost, why)
	r.mu.Unlock()
	r.tell()
}

// takeLost returns what was lost since it was called last.
func (r *reached) takeLost() (lost []*framing.Denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, r.lost = r.lost, nil
	return lost
}

// connect links to the relay: to the one that gave the name before, or to one
// of those that it may be.
func (w *way) connect(ctx context.Context) (*reached, error) {
	w.mu.Lock()
	candidates := w.candidates
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
	if r.refused != nil {
		w.answered(r.relay)
	}
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
	r := &reached{relay: relay, ends: ends, news: make(chan struct{}, 1)}
	var err error
	r.link, r.welcome, err = w.link(ctx, relay, framing.Handler{
		Panics: w.d.panics, Traffic: w.d.cfg.Figures.traffic(),
		Pool: w.d.pool,
		Warm: w.d.warmings.take,
		Lost: r.lose,
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
	return r, nil
}

// draining is why a session ends whose relay goes away, in the relay's words.
func draining(g framing.GoAway) error {
	if g.Text == "" {
		return errDraining
	}
	return fmt.Errorf("%w: %s", errDraining, plain.Text(g.Text))
}

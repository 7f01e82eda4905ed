package remote

import (
	"context"
	"errors"
	"slices"
	"time"

	"keystay/framing"
)

const (
	// stagger is how long a candidate may take before the next one is tried
	// beside it.
	stagger = time.Second
	// preferTime is how much longer those before it may take when a candidate
	// has answered.
	preferTime = 2 * time.Second
	// tellAfter is after how long the log tells of an attempt that is not over.
	tellAfter = 2 * time.Second
)

// A reached is a relay that has answered.
type reached struct {
	relay   string
	refused error // it lets this remote not in, and the rest is zero
	link    *framing.Link
	welcome framing.Welcome
	over    <-chan error // why the relay ends the session
}

// connect links to the relay: to the one that gave the name before, or to one
// of those that it may be.
func (w *way) connect(ctx context.Context) (*reached, error) {
	candidates := w.candidates
	w.mu.Lock()
	if w.found {
		candidates = []string{w.relay}
	}
	w.mu.Unlock()
	slow := time.AfterFunc(tellAfter, func() {
		if empty, _ := w.line.empty(); empty && w.outage.tellsReason("slow", false) {
			w.l.log.Info("waiting for the relay's answer", "relay", w.name())
		}
	})
	defer slow.Stop()
	r, err := prefer(ctx, candidates, w.try, func(r *reached) {
		if r.link != nil {
			r.link.Close()
		}
	})
	if err != nil {
		return nil, err
	}
	w.answered(r.relay)
	return r, r.refused
}

// try links to one candidate. A refusal is an answer, too.
func (w *way) try(ctx context.Context, relay string) (*reached, error) {
	over := make(chan error, 1)
	report := func(err error) {
		select {
		case over <- err:
		default:
		}
	}
	link, welcome, err := w.link(ctx, relay, framing.Handler{
		Lost: func(d *framing.Denial) { report(d) },
		GoAway: func(g framing.GoAway) {
			if g.Code == framing.GoAwayTakeover {
				report(errMoved)
			}
			report(errDraining) // heard only if it is the first
		},
	})
	var refused *framing.Refusal
	switch {
	case errors.As(err, &refused):
		return &reached{relay: relay, refused: err}, nil
	case err != nil:
		return nil, &NoRelayError{Relay: relay, Err: err}
	}
	return &reached{relay: relay, link: link, welcome: welcome, over: over}, nil
}

// prefer tries the candidates, the preferred one first: each when all before it
// have failed, or when the one before it has not answered for a while. It
// returns the answer of the first of them that answers, but a preferred one has
// some more time. The answers of others go to discard. If all fail the errors
// are joined. Nothing is under way any more when prefer returns.
func prefer[T any](ctx context.Context, candidates []string, try func(context.Context, string) (T, error), discard func(T)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		i      int
		answer T
		err    error
	}
	results := make(chan result)
	errs := make([]error, len(candidates))
	best, started, pending := result{i: len(candidates)}, 0, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pending > 0 || started < len(candidates) && best.i == len(candidates) {
		if best.i < len(candidates) && !slices.ContainsFunc(errs[:best.i], func(err error) bool { return err == nil }) {
			cancel() // nobody is left whom it would have to wait for
		}
		select {
		case <-timer.C:
			if best.i < len(candidates) { // it has waited for the others
				cancel()
			} else if i := started; i < len(candidates) {
				started, pending = started+1, pending+1
				timer.Reset(stagger)
				go func() {
					answer, err := try(ctx, candidates[i])
					results <- result{i, answer, err}
				}()
			}
		case r := <-results:
			pending--
			errs[r.i] = r.err
			switch {
			case r.err != nil:
				if pending == 0 && best.i == len(candidates) {
					timer.Reset(0)
				}
			case r.i < best.i:
				if best.i < len(candidates) {
					discard(best.answer)
				}
				best = r
				timer.Reset(preferTime)
			default:
				discard(r.answer)
			}
		}
	}
	if best.i < len(candidates) {
		return best.answer, nil
	}
	return best.answer, errors.Join(errs...)
}

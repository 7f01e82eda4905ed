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
	berth   *berth        // where the link is
	ends    chan error    // why the session ends; holds the first reason
	news    chan struct{} // names were lost, or others are wanted; holds one
	first   bool          // it was the first link to come up

	mu   sync.Mutex
	lost map[string]*framing.Denial // names that the relay has taken back, and why it said last; nil where no session runs
}

// report ends the session for a reason, unless there is one already.
func (r *reached) report(why error) {
	select {
	case r.ends <- why:
	default:
	}
}

// tell makes the session look what is new.
func (r *reached) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// lose notes that the relay has taken a name back, unless no session will look.
func (r *reached) lose(why *framing.Denial) {
	r.mu.Lock()
	if r.lost != nil {
		r.lost[why.Name] = why
	}
	r.mu.Unlock()
	r.tell()
}

// takeLost returns what was lost since it was called last.
func (r *reached) takeLost() (lost map[string]*framing.Denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, r.lost = r.lost, make(map[string]*framing.Denial)
	return lost
}

// endLost drops what was lost, and what will be: a link without a session may live on for
// long, for its visitors.
func (r *reached) endLost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = nil
}

// connect links to the relay: to the one that gave the name before, or to one
// of those that it may be. Lately is the node of it where the link was before, or empty.
func (w *way) connect(ctx context.Context, lately string) (*reached, error) {
	w.mu.Lock()
	candidates := w.candidates
	if w.fixed {
		candidates = []string{w.relay}
	}
	w.mu.Unlock()
	slow := time.AfterFunc(tellAfter, func() {
		if down, _ := w.line.down(); down && w.tellings.tellsLoss(&w.outage, "slow", false) {
			w.d.log.Info("waiting for the relay's answer", "relay", w.name())
		}
	})
	defer slow.Stop()
	r, err := firstAnswer(ctx, candidates, func(ctx context.Context, relay string) (*reached, error) { return w.try(ctx, relay, lately) })
	if err != nil {
		return nil, err
	}
	if r.refused != nil {
		r.berth.leave()
		w.answered(r.relay)
	}
	return r, r.refused
}

// try links to one candidate: to the node of it that is best, or else by its own name. A
// refusal is an answer, too.
func (w *way) try(ctx context.Context, relay, lately string) (*reached, error) {
	b, to := w.nodes.berth(relay, lately)
	atNode := to != (target{}) && w.mayDialNodes(relay)
	var failed error
	if atNode {
		short, cancel := context.WithTimeout(ctx, nodeTimeout)
		r, err := w.tryAt(short, relay, b, to)
		cancel()
		if err == nil && (r.refused == nil || final(r.refused)) {
			return r, nil
		}
		if failed = err; err == nil {
			failed = r.refused
		}
	}
	b.place(nil)
	r, err := w.tryAt(ctx, relay, b, target{})
	if down, _ := w.line.down(); atNode && (err == nil || !down) { // else the network is at fault
		w.lostNode(to.node, failed)
	}
	if err != nil {
		b.leave()
	}
	return r, err
}

// tryAt is try at one node, or by the relay's own name. The berth is the caller's when it
// fails.
func (w *way) tryAt(ctx context.Context, relay string, b *berth, to target) (*reached, error) {
	r := &reached{relay: relay, berth: b, ends: make(chan error, 1), news: make(chan struct{}, 1), lost: make(map[string]*framing.Denial)}
	var err error
	r.link, r.welcome, err = w.link(ctx, relay, to, framing.Handler{
		Panics: w.d.panics, Traffic: w.d.cfg.Figures.traffic(),
		Pool:  w.d.pool,
		Warm:  w.d.warmings.take,
		Lost:  r.lose,
		Nodes: func(list framing.Nodes) { b.hear(relay, list) },
		GoAway: func(g framing.GoAway) {
			b.goes(g)
			if g.Code == framing.GoAwayTakeover {
				r.report(errMoved)
			}
			r.report(draining(g)) // heard only if it is the first
		},
	})
	var refused *framing.Refusal
	switch {
	case errors.As(err, &refused):
		return &reached{relay: relay, berth: b, refused: err}, nil
	case err != nil:
		return nil, &NoRelayError{Relay: relay, Err: err, rooted: w.d.cfg.RelayRoots != nil}
	}
	b.place(r.link)
	return r, nil
}

// draining is why a session ends whose relay goes away, in the relay's words.
func draining(g framing.GoAway) error {
	if g.Text == "" {
		return errDraining
	}
	return fmt.Errorf("%w: %s", errDraining, plain.Text(g.Text))
}

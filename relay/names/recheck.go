package names

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"keystay/internal/hint"
	"keystay/internal/hostname"
)

const (
	// recheckAfter is how old the proof of a domain is when DNS is asked again while
	// its device stays connected. To it comes a part of recheckSpread, another one for
	// each name, so that not all domains that were proven at once are due at once.
	recheckAfter  = 20 * time.Hour
	recheckSpread = 4 * time.Hour
	// recheckRetry is when DNS is asked again that did not name the device.
	recheckRetry = time.Hour
	// recheckEvery is how often domains are looked for that are due.
	recheckEvery = 10 * time.Minute
	// recheckAtOnce is how many domains DNS is asked for at once.
	recheckAtOnce = 4
)

// Recheck asks DNS again, once a day, for the domains whose devices are connected,
// until ctx ends. A device that loses one is told by OnLost. The function connected
// returns who is connected for which names.
func (n *Names) Recheck(ctx context.Context, connected func() []Holding, log *slog.Logger) {
	if n.Prove == nil {
		return
	}
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	tried := make(map[string]time.Time) // when DNS was asked last, by domain
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if n.InForce().NoDomains {
			continue
		}
		tried = n.recheckDue(ctx, connected(), tried, log)
	}
}

// recheckDue checks the domains that are due, and returns when those that are
// connected were.
func (n *Names) recheckDue(ctx context.Context, connected []Holding, tried map[string]time.Time, log *slog.Logger) map[string]time.Time {
	now := time.Now()
	kept := make(map[string]time.Time)
	var due []Holding
	for _, h := range connected {
		if at, ok := tried[h.Name]; ok {
			kept[h.Name] = at
		}
		if now.Sub(kept[h.Name]) >= recheckRetry && n.isDue(h) {
			kept[h.Name] = now
			due = append(due, h)
		}
	}
	slots := make(chan struct{}, recheckAtOnce)
	var wg sync.WaitGroup
	for _, h := range due {
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			// Closed, the record is another process's to look after.
			if err := n.recheck(ctx, h); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
				log.Warn("cannot keep whose a domain is", "name", h.Name, "err", err, hint.Attr(hint.All(err)))
			}
		})
	}
	wg.Wait()
	return kept
}

// isDue reports whether DNS is to be asked again for a domain.
func (n *Names) isDue(h Holding) (due bool) {
	if hostname.IsBelow(h.Name, n.zone) || IsPort(h.Name) {
		return false
	}
	_ = n.view(func(l *ledger) error {
		gr, err := l.get(h.Name)
		if err != nil || gr == nil || !bytes.Equal(gr.Key, h.Key) {
			return err
		}
		age := recheckAfter + spread(h.Name)
		due = gr.Proof == nil || !gr.Proof.Failing.IsZero() || !gr.Proof.Silent.IsZero() || l.Now().Sub(gr.Proof.Checked) >= age
		return nil
	})
	return due
}

// spread is a part of recheckSpread, another one for each name.
func spread(name string) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(name))
	return recheckSpread * time.Duration(h.Sum32()>>16) >> 16
}

// recheck asks DNS again for a domain that its identity has.
func (n *Names) recheck(ctx context.Context, h Holding) error {
	c := Claimant{Name: h.Name, Key: h.Key}
	e, noProof := n.Prove(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err() // which says nothing of DNS
	}
	known := answers{proof: true, holder: h.Key, evidence: e, noProof: noProof}
	var v verdict
	err := n.update(func(l *ledger) error {
		v = verdict{}
		gr, err := l.get(h.Name)
		if err != nil || gr == nil || !bytes.Equal(gr.Key, h.Key) {
			return err
		}
		v = n.proveAgain(l, &c, gr, &known)
		return v.write(l)
	})
	if err == nil {
		n.forsaken(v)
	}
	return err
}

package relay

import (
	"context"
	"sync"
	"sync/atomic"
)

// stats counts what the relay does. It holds no names.
type stats struct {
	visitors gauge
	static   gauge        // visitors of the operator's own servers
	fallback gauge        // the same, by Front.Fallback
	refused  refusals     // connections that led nowhere
	links    atomic.Int64 // links of remotes that were let in
	lanes    atomic.Int64 // lanes that were bound to a visitor's stream
	stalls   atomic.Int64 // writes to remotes that had to wait for credit
}

// A gauge counts what is under way, and lets one wait for none.
type gauge struct {
	mu    sync.Mutex
	now   int
	total int64
	zero  chan struct{} // closed at zero; nil when nobody waits
}

func (g *gauge) add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.total++
}

func (g *gauge) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now--; g.now == 0 && g.zero != nil {
		close(g.zero)
		g.zero = nil
	}
}

// wait returns when nothing is under way, or ctx's error.
func (g *gauge) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.now == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.zero == nil {
		g.zero = make(chan struct{})
	}
	zero := g.zero
	g.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gauge) current() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gauge) sum() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

package relay

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

const (
	// maxHandshakesWaiting is how many TLS handshakes for the relay's own name
	// may wait for their turn; the others are closed, and remotes come again.
	maxHandshakesWaiting = 4096
	// handshakeWait is how long one may wait: less than a remote does.
	handshakeWait = 12 * time.Second
)

// errBusy is the error of a handshake for which there is no turn.
var errBusy = errors.New("too many handshakes at once")

// A gate lets a few TLS handshakes compute at once, first come first served, so
// that visitors have their part of the processors when all remotes come back
// together. A place is held only while there is something to compute: who
// holds one cannot keep it by sending nothing.
type gate struct {
	places chan struct{}

	mu      sync.Mutex
	waiting int
}

// newGate returns a gate with half as many places as there are processors.
func newGate() *gate {
	return &gate{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// enter waits for a place. The function it returns gives it back, and may be
// called several times.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leave = sync.OnceFunc(func() { <-g.places })
	select {
	case g.places <- struct{}{}:
		return leave, nil
	default:
	}
	if !g.queue(1) {
		return nil, errBusy
	}
	defer g.queue(-1)
	timer := time.NewTimer(handshakeWait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// queue counts who waits. It reports false when too many do already.
func (g *gate) queue(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n > 0 && g.waiting >= maxHandshakesWaiting {
		return false
	}
	g.waiting += n
	return true
}

package relay

import (
	"context"
	"net"
	"sync"
	"time"

	"keystay/internal/duplex"
)

const (
	// maxHoldsPerName is how many visitors of one name may wait for its remote.
	maxHoldsPerName = 64
	// maxHolds is how many visitors may wait in all.
	maxHolds = 4096
	// maxExpectedPerName and maxExpected are the same for names that were
	// handed over: every visitor of theirs waits until the remote has dialled
	// again.
	maxExpectedPerName = 1024
	maxExpected        = 16384
)

// A holdLimit says how long a visitor may wait, and with how many others of its
// name and in all.
type holdLimit struct {
	time           time.Duration
	perName, total int
}

// holds counts the visitors that wait for a remote that is away.
type holds struct {
	mu    sync.Mutex
	total int
	names map[string]int
}

// wait waits within limit for name to come up, but not after gone or changed is
// closed, nor after the visitor c has left; again reports that it was changed. It returns nil when name does not
// come up, and at once when too many wait already.
func (h *holds) wait(ctx context.Context, gone, changed <-chan struct{}, c net.Conn, p *presence, name string, validation bool, limit holdLimit) (s *session, again bool) {
	h.mu.Lock()
	if h.total >= limit.total || h.names[name] >= limit.perName {
		h.mu.Unlock()
		return nil, false
	}
	if h.names == nil {
		h.names = make(map[string]int)
	}
	h.total++
	h.names[name]++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.total--
		if h.names[name]--; h.names[name] == 0 {
			delete(h.names, name)
			p.forgetArrival(name)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, limit.time)
	defer cancel()
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		arrival := p.arrival(name)
		if s := p.find(name, validation); s != nil {
			return s, false
		}
		select {
		case <-arrival:
		case <-changed:
			return nil, true
		case <-watch.C:
			if duplex.Ended(c) {
				return nil, false
			}
		case <-gone:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

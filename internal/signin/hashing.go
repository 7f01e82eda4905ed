package signin

import (
	"context"
	"runtime"
	"sync/atomic"
)

// maxHashing is how many passwords, or certificates, may wait to be looked at. Each
// takes a processor for a while: a password about 50 ms with the usual cost of 10.
const maxHashing = 64

// Hashing lets passwords, or certificates, be looked at on half of the processors, so
// that services have the rest. Make it with NewHashing.
type Hashing struct {
	places  chan struct{}
	waiting atomic.Int64
}

// NewHashing returns a Hashing in which nothing is looked at.
func NewHashing() *Hashing {
	return &Hashing{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// Do calls f in its turn. It returns false without doing so where too many wait, or ctx
// ends meanwhile. Where nobody waits ctx has no say: that of a request ends also when its
// visitor has sent all that it will, and waits for the answer.
func (h *Hashing) Do(ctx context.Context, f func()) bool {
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > maxHashing {
		return false
	}
	select {
	case h.places <- struct{}{}:
	default:
		select {
		case h.places <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	defer func() { <-h.places }()
	f()
	return true
}

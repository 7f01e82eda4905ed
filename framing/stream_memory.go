package framing

import (
	"errors"
	"sync"

	"keystay/internal/budget"
)

const (
	// StreamMemory is what each stream counts for in Handler.Memory from its
	// beginning to its end, in bytes: for what may arrive and be queued without any
	// further question, whether it does or not.
	StreamMemory = InitialCredit + 2*smallOut
	// LaneMemory is what a stream counts for beyond that while it is on a lane:
	// a buffer for each direction, for the goroutine that copies it.
	LaneMemory = 128 << 10
	// SpareLaneMemory is what a lane counts for that has joined its link and waits
	// for its stream: its TLS, and the goroutines that wait.
	SpareLaneMemory = 32 << 10
	// memoryStep is in what pieces a link takes memory from Handler.Memory, in
	// bytes, so that its streams do not ask there each time.
	memoryStep = 256 << 10
)

// ErrNoMemory is the error of opening a stream, or taking a lane, for which
// Handler.Memory has no room.
var ErrNoMemory = errors.New("no memory for another stream or lane on this link")

// A pool bounds what the streams of a link may make this side hold: InitialCredit
// for each and a little that is queued, and poolSize for all beyond that, and all
// of it together by what the link can take from memory.
type pool struct {
	mu       sync.Mutex
	used     int           // of poolSize
	reserved int           // for streams and lanes
	drawn    int           // taken from memory: at least used + reserved
	memory   *budget.Share // nil is no limit
}

// take returns how much of want may be granted now: at most one part in share of
// what is free of the first size bytes of the pool, and one in poolShare of what
// memory has, and less than that has left: most of it is for streams that are still
// to be opened.
func (p *pool) take(want, size, share int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(want, (size-p.used)/share)
	if p.memory != nil && n > 0 {
		left := int64(p.drawn-p.used-p.reserved) + p.memory.Left()
		n = int(min(int64(n), left/poolShare, (left-int64(p.used))/2))
	}
	n = p.drawLocked(1, n)
	p.used += n
	return n
}

// takeAll takes n bytes, or nothing.
func (p *pool) takeAll(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > poolSize-p.used || p.drawLocked(n, n) < n {
		return false
	}
	p.used += n
	return true
}

func (p *pool) put(n int) {
	p.mu.Lock()
	p.used -= n
	p.trimLocked()
	p.mu.Unlock()
}

// reserve takes n bytes that are not of poolSize, or nothing.
func (p *pool) reserve(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawLocked(n, n) < n {
		return false
	}
	p.reserved += n
	return true
}

func (p *pool) unreserve(n int) {
	p.mu.Lock()
	p.reserved -= n
	p.trimLocked()
	p.mu.Unlock()
}

// tight reports whether n bytes more may not be had.
func (p *pool) tight(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	spare := p.drawn - p.used - p.reserved
	return n > poolSize-p.used || p.memory != nil && n > spare && int64(n-spare) > p.memory.Left()
}

// drawLocked sees to it that n bytes more can be used, or at least least of them,
// and returns how many.
func (p *pool) drawLocked(least, n int) int {
	if n <= 0 || p.memory == nil {
		return max(0, n)
	}
	spare := p.drawn - p.used - p.reserved
	if n > spare {
		pieces := (n - spare + memoryStep - 1) / memoryStep
		got := p.memory.Take(max(1, least-spare), pieces*memoryStep)
		p.drawn += got
		spare += got
	}
	return min(n, spare)
}

// trimLocked gives back what is drawn and not needed soon.
func (p *pool) trimLocked() {
	spare := p.drawn - p.used - p.reserved
	switch {
	case p.used+p.reserved == 0:
	case spare > 2*memoryStep:
		spare -= memoryStep
	default:
		return
	}
	p.memory.Put(spare)
	p.drawn -= spare
}

package framing

import (
	"errors"
	"sync"

	"keystay/internal/budget"
)

const (
	// InitialCredit is what each direction of a stream may carry before any
	// CREDIT, in bytes.
	InitialCredit = 16 << 10
	// MaxCredit is the most credit that may stand open, in bytes.
	MaxCredit = 16 << 20
	// maxWindow is the most credit this side grants to one stream, in bytes: for
	// a page of 1 MiB in one go, with its headers and what TLS adds.
	maxWindow = 1280 << 10
	// MaxPool is what all streams of a link together may have granted beyond
	// their InitialCredit, and queued beyond the least that each may, in bytes, where
	// Handler.Pool does not say. With less than MinPool a page of 1 MiB would not come
	// in one go.
	MaxPool = 32 << 20
	MinPool = 4 << 20
	// poolShare: one stream takes at most this part of what is free, so that
	// windows shrink smoothly as a link gets crowded and never all at once.
	poolShare = 16
	// firstWindow is what the opener grants to a stream before any data has
	// come, in bytes, and one in firstPart the part of the pool for that. The other
	// side gives credit that a stream does not use back late, or not at all. So the
	// rest is for streams that have shown that they use it.
	firstWindow = 256 << 10
	firstPart   = 2
	// A stream that finds almost nothing granted on its link gets up to maxWindow
	// at first, which saves a page of 1 MiB two round trips: from the first
	// earlyPool bytes of the pool, so that the many do not pay for the few.
	earlyPool  = 2 * maxWindow
	earlyShare = 2
	// windowGrowth bounds a window by its use: it is at most windowGrowth times the
	// bytes that were read from the stream, or what begin gives where that is more.
	// So a small page leaves a small window behind.
	windowGrowth = 8
	// creditBurst and creditStep are how many CREDIT records may come on a
	// stream: so many, and one for each so many bytes of DATA.
	creditBurst = 64
	creditStep  = 1 << 10
)

// A window is what one stream has granted to the other side and not yet got
// back: credit that stands open and data that nobody has read.
type window struct {
	pool   *pool
	open   int  // granted and not consumed
	unsent int  // granted and not yet arrived, a part of open
	extra  int  // the part of open that is from the pool
	target int  // what open was last raised to
	read   int  // bytes read until now, up to maxWindow
	lend   bool // credit was given back, and lent has granted none since
}

func newWindow(p *pool) window {
	return window{pool: p, open: InitialCredit, unsent: InitialCredit, target: InitialCredit}
}

// received accounts n bytes that arrived. It reports false when they exceed
// the credit.
func (w *window) received(n int) bool {
	w.unsent -= n
	return w.unsent >= 0
}

// consumed accounts n bytes that were read, and returns the credit to grant in
// turn, often 0: it is given in large steps.
func (w *window) consumed(n int) int {
	w.open -= n
	w.read = min(w.read+n, maxWindow)
	w.release(max(0, w.open-InitialCredit))
	if w.open > w.target/2 {
		return 0
	}
	return w.grow()
}

// ended accounts that nothing more arrives: only what is buffered counts.
func (w *window) ended(buffered int) {
	w.open, w.unsent = buffered, 0
	w.release(max(0, buffered-InitialCredit))
}

// returned takes back n bytes of credit that the other side has not used. It reports
// false when the other side has less.
func (w *window) returned(n int) bool {
	if n > w.unsent {
		return false
	}
	w.unsent -= n
	w.open -= n
	w.release(max(0, w.open-InitialCredit))
	w.target = w.open
	w.lend = true
	return true
}

// lent raises the window, once after credit was given back, and returns by how much: for
// the answer to data that is sent now.
func (w *window) lent() int {
	if !w.lend {
		return 0
	}
	n := w.grow()
	w.lend = n == 0
	return n
}

// begin raises the window as far as a stream is trusted that has not shown its
// use yet, and returns by how much.
func (w *window) begin() int {
	return w.raise(maxWindow, earlyPool, earlyShare) + w.raise(firstWindow, w.pool.size()/firstPart, poolShare)
}

// grow raises the window as far as its use justifies and the pool has, at least
// as begin does, and returns by how much.
func (w *window) grow() int {
	return w.raise(min(maxWindow, windowGrowth*w.read), w.pool.size(), poolShare) + w.begin()
}

// raise raises the window to InitialCredit, and towards limit as far as one part
// in share of the first size bytes of the pool allows.
func (w *window) raise(limit, size, share int) int {
	base := max(w.open, InitialCredit)
	n := base - w.open + w.pool.take(limit-base, size, share)
	w.open += n
	w.unsent += n
	w.extra = max(0, w.open-InitialCredit)
	w.target = w.open
	return n
}

// release returns to the pool what extra is above n.
func (w *window) release(n int) {
	if w.extra > n {
		w.pool.put(w.extra - n)
		w.extra = n
	}
}

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
// for each and a little that is queued, and its size for all beyond that, and all
// of it together by what the link can take from memory.
type pool struct {
	mu       sync.Mutex
	most     int           // its size; 0 is MaxPool
	used     int           // of its size
	reserved int           // for streams and lanes
	drawn    int           // taken from memory: at least used + reserved
	memory   *budget.Share // nil is no limit
}

// size is how much there is for all streams together.
func (p *pool) size() int {
	if p.most == 0 {
		return MaxPool
	}
	return p.most
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
	if n > p.size()-p.used || p.drawLocked(n, n) < n {
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

// reserve takes n bytes that are not of its size, or nothing.
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
	return n > p.size()-p.used || p.memory != nil && n > spare && int64(n-spare) > p.memory.Left()
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

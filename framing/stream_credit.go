package framing

const (
	// InitialCredit is what each direction of a stream may carry before any
	// CREDIT, in bytes.
	InitialCredit = 16 << 10
	// MaxCredit is the most credit that may stand open, in bytes.
	MaxCredit = 16 << 20
	// maxWindow is the most credit this side grants to one stream, in bytes: for
	// a page of 1 MiB in one go, with its headers and what TLS adds.
	maxWindow = 1280 << 10
	// poolSize is what all streams of a link together may have granted beyond
	// their InitialCredit, and queued beyond the least that each may, in bytes.
	poolSize = 32 << 20
	// poolShare: one stream takes at most this part of what is free, so that
	// windows shrink smoothly as a link gets crowded and never all at once.
	poolShare = 16
	// firstWindow is what the opener grants to a stream before any data has
	// come, in bytes, and firstPool the part of the pool for that. What is granted
	// cannot be taken back from a stream that does not use it, so the rest is for
	// those that have shown that they do.
	firstWindow = 256 << 10
	firstPool   = poolSize / 2
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
	open   int // granted and not consumed
	unsent int // granted and not yet arrived, a part of open
	extra  int // the part of open that is from the pool
	target int // what open was last raised to
	read   int // bytes read until now, up to maxWindow
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

// begin raises the window as far as a stream is trusted that has not shown its
// use yet, and returns by how much.
func (w *window) begin() int {
	return w.raise(maxWindow, earlyPool, earlyShare) + w.raise(firstWindow, firstPool, poolShare)
}

// grow raises the window as far as its use justifies and the pool has, at least
// as begin does, and returns by how much.
func (w *window) grow() int {
	return w.raise(min(maxWindow, windowGrowth*w.read), poolSize, poolShare) + w.begin()
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

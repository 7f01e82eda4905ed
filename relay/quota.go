package relay

import (
	"log/slog"
	"sync"
	"time"
)

// A quota bounds the lines of one kind in the log, so that nobody outside fills
// it. The zero value is ready.
type quota struct {
	mu     sync.Mutex
	began  time.Time
	taken  int // since then
	missed int // before and since, and not told yet
}

// take reports whether one more of the n lines within d may be written. The
// attribute says how many were left out before it, if any were.
func (q *quota) take(n int, d time.Duration) (left slog.Attr, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.began) >= d {
		q.began, q.taken = time.Now(), 0
	}
	if q.taken >= n {
		q.missed++
		return slog.Attr{}, false
	}
	q.taken++
	if q.missed > 0 {
		left = slog.Int("left_out", q.missed)
		q.missed = 0
	}
	return left, true
}

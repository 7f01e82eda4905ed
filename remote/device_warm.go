package remote

import (
	"sync"
	"time"
)

// A device that is on a bad network, and links again and again, must not spend much on
// each link: warmBurst links may be warmed at once, and then one in each warmInterval.
const (
	warmBurst    = 4
	warmInterval = 15 * time.Minute
)

// warmings counts the links of a device that were warmed.
type warmings struct {
	mu   sync.Mutex
	free time.Time // when as many may be warmed at once as ever
}

// take reports whether one more link may be warmed now.
func (w *warmings) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	next := w.free.Add(warmInterval)
	if w.free.Before(now) {
		next = now.Add(warmInterval)
	}
	if next.Sub(now) > warmBurst*warmInterval {
		return false
	}
	w.free = next
	return true
}

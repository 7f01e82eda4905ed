package limits

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceTime is for how long one stream may go on before another one may, where
	// all of a bandwidth is in use.
	paceTime = 50 * time.Millisecond
	// minPortion is the least that a stream may send at once, in bytes: less is not
	// worth moving in the kernel.
	minPortion = 64 << 10
	// longWait is how long others wait from which on a portion may be as small as
	// smallPortion, in bytes.
	longWait     = time.Second
	smallPortion = 16 << 10
)

// A pace is a token bucket of bytes. A stream that is to send reserves them first and is
// told how long to wait: so the streams send in the order in which they came.
// The zero value has no limit.
type pace struct {
	rate atomic.Int64 // bytes a second; 0 is no limit

	mu     sync.Mutex
	tokens float64 // below 0: bytes that are reserved and not paid for yet
	at     int64   // when tokens was right, in nanoseconds
}

// set changes the rate; a rate below 0 is no limit. A second's worth may go at
// once then, where there was no limit before.
func (p *pace) set(rate, now int64) {
	rate = max(0, rate)
	if p.rate.Load() == rate {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fillLocked(now)
	if was := p.rate.Swap(rate); was == 0 {
		p.tokens, p.at = float64(rate), now
	}
}

// fillLocked adds what has come since.
func (p *pace) fillLocked(now int64) {
	rate := float64(p.rate.Load())
	if now > p.at {
		p.tokens = min(rate, p.tokens+rate*float64(now-p.at)/float64(time.Second))
		p.at = now
	}
}

// portion returns how many of n bytes one stream may reserve at once: fewer, the more
// is reserved already. So a message that is small does not wait for the long portions
// of a thousand others.
func (p *pace) portion(n int, began time.Time) int {
	if p.rate.Load() == 0 {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fillLocked(int64(time.Since(began)))
	rate := float64(p.rate.Load())
	if rate == 0 {
		return n
	}
	wait, least := max(0, -p.tokens/rate), minPortion
	if wait > longWait.Seconds() {
		least = smallPortion
	}
	return min(n, max(least, int(rate*paceTime.Seconds()/(1+wait/paceTime.Seconds()))))
}

// reserve takes n bytes and returns how long to wait before they may go. The
// clock of the pace began at began.
func (p *pace) reserve(n int, began time.Time) time.Duration {
	if p.rate.Load() == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fillLocked(int64(time.Since(began)))
	rate := float64(p.rate.Load())
	if rate == 0 {
		return 0
	}
	wait := max(0, -p.tokens/rate*float64(time.Second))
	p.tokens -= float64(n)
	return time.Duration(wait)
}

// put gives n bytes back.
func (p *pace) put(n int) {
	rate := p.rate.Load()
	if rate == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = min(float64(rate), p.tokens+float64(n))
}

// idle reports whether forgetting the pace would lose nothing.
func (p *pace) idle(now int64) bool {
	if p.rate.Load() == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fillLocked(now)
	return p.tokens >= float64(p.rate.Load())
}

package remote

import "time"

// An allowance is how often something may be done: some times at once, the burst, and then
// once in each interval. The zero value allows a whole burst.
type allowance struct {
	whole time.Time // when it is, again
}

// take takes one of the times, and returns 0; or after how long there is one again.
func (a *allowance) take(burst int, interval time.Duration) (wait time.Duration) {
	now := time.Now()
	if a.whole.Before(now) {
		a.whole = now
	}
	next := a.whole.Add(interval)
	if wait = next.Sub(now) - time.Duration(burst)*interval; wait > 0 {
		return wait
	}
	a.whole = next
	return 0
}

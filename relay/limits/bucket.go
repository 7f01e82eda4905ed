package limits

import (
	"math"
	"time"
)

// burstTime says how much may come at once after a time in which nothing has come: as
// much as the rate lets come in burstTime. A rate that counts by a longer time, such as
// 200 a day, lets its whole count come at once.
const burstTime = 10 * time.Second

// A pass says how much time of a bucket one event takes, and how many may come at
// once. The zero value lets everything pass.
type pass struct {
	each  int64 // nanoseconds
	burst int64 // events
}

// passOf returns the pass of a rate, times as wide. As many may come at once as come
// in burstTime, and no fewer than the rate's count, nor than atLeast.
func passOf(r Rate, times, atLeast int) pass {
	if r.Count < 0 {
		return pass{}
	}
	count := int64(r.Count) * int64(times)
	p := pass{each: int64(r.Per) / count}
	p.burst = max(count, int64(burstTime)/max(1, p.each), int64(atLeast)*int64(times))
	p.burst = min(p.burst, math.MaxInt64/4/max(1, p.each)) // so that no time overflows
	return p
}

// A bucket is when all that has come is paid for by time, in nanoseconds on the
// clock of its table. The zero value is a full bucket.
type bucket int64

// after returns how long an event that comes now has to wait; 0 is that it may.
func (b bucket) after(now int64, p pass) time.Duration { return b.afterAll(now, p, 1) }

// afterAll is after for so many events at once. More than a burst wait for a full bucket.
func (b bucket) afterAll(now int64, p pass, many int) time.Duration {
	if p.each == 0 {
		return 0
	}
	return time.Duration(max(0, int64(b)-now-p.each*max(0, p.burst-int64(many))))
}

// take lets an event come.
func (b *bucket) take(now int64, p pass) {
	if p.each > 0 {
		*b = bucket(max(int64(*b), now) + p.each)
	}
}

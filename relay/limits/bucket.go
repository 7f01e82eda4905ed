package limits

import "time"

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

// passOf returns the pass of a rate, times as wide. Burst is how many may come at
// once; 0 is what comes in burstTime, and no fewer than the rate's count.
func passOf(r Rate, times, burst int) pass {
	if r.Count < 0 {
		return pass{}
	}
	count := int64(r.Count) * int64(times)
	p := pass{each: int64(r.Per) / count, burst: int64(burst) * int64(times)}
	if burst == 0 {
		p.burst = max(count, int64(burstTime)/max(1, p.each))
	}
	return p
}

// A bucket is when all that has come is paid for by time, in nanoseconds on the
// clock of its table. The zero value is a full bucket.
type bucket int64

// after returns how long an event that comes now has to wait; 0 is that it may.
func (b bucket) after(now int64, p pass) time.Duration {
	if p.each == 0 {
		return 0
	}
	return time.Duration(max(0, int64(b)-now-p.each*(p.burst-1)))
}

// take lets an event come.
func (b *bucket) take(now int64, p pass) {
	if p.each > 0 {
		*b = bucket(max(int64(*b), now) + p.each)
	}
}

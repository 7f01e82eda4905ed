package remote

import (
	"sync"
	"time"
)

const (
	// lossLook is how often it is looked whether packets were lost, at most.
	lossLook = 500 * time.Millisecond
	// lossTime is for how long a loss counts, from when it is noticed.
	lossTime = 10 * time.Second
)

// A pathLoss tells whether packets to the relays were lost lately. On a link
// a lost packet holds up all visitors; on a lane, one. The zero value is ready.
type pathLoss struct {
	mu     sync.Mutex
	looked time.Time
	count  int
	until  time.Time
}

// lossy reports whether packets were lost lately, going by how many were sent
// once more on the connections that there are now since the last look: if that
// was too long ago, nobody knows when.
func (p *pathLoss) lossy(now time.Time, retransmits func() int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) >= lossLook {
		n := retransmits()
		if n > p.count && now.Sub(p.looked) <= lossTime {
			p.until = now.Add(lossTime)
		}
		p.looked, p.count = now, n
	}
	return now.Before(p.until)
}

// retransmits is how many packets were sent once more on all links and lanes.
func (d *Device) retransmits() (n int) {
	for _, link := range d.allLinks() {
		n += link.Retransmits()
	}
	return n
}

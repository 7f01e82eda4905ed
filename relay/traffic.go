package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keystay/internal/duplex"
)

// traffic is what visitors' connections have carried. Nothing is counted for it but by
// the copying itself, which it asks at each look and at the end of a connection: so a
// download that lasts for hours shows all the time, and no byte costs more. Its fields
// are set before.
type traffic struct {
	first prometheus.Observer // of the times to the first byte, in seconds
	named *namedTraffic       // by name; nil without

	mu    sync.Mutex
	flows map[*flow]struct{} // those that go on
	ended carried            // by those that do not any more
}

// carried are bytes, by what carried them and by direction.
type carried struct{ streamIn, streamOut, laneIn, laneOut int64 }

func (c *carried) add(r duplex.Result) {
	c.streamIn += r.AtoB - r.MovedAtoB
	c.streamOut += r.BtoA - r.MovedBtoA
	c.laneIn += r.MovedAtoB
	c.laneOut += r.MovedBtoA
}

// A flow is one visitor's bytes on their way.
type flow struct {
	hello  int           // bytes of the hello and what came with it, which the copying does not see
	waited time.Duration // from the whole hello to the beginning of the copying
	name   *namedCount   // may be nil

	until    func() duplex.Result // guarded by traffic.mu
	over     bool                 // likewise
	answered atomic.Bool          // the time to its first byte is observed
}

// begin counts a flow, which may be over already. Until says what it has carried.
func (t *traffic) begin(f *flow, until func() duplex.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.until = until
	t.ended.streamIn += int64(f.hello)
	if f.name != nil {
		f.name.ended.streamIn += int64(f.hello)
	}
	if f.over {
		t.endLocked(f)
		return
	}
	if t.flows == nil {
		t.flows = make(map[*flow]struct{})
	}
	t.flows[f] = struct{}{}
}

// end counts that a flow is over, which may come before begin.
func (t *traffic) end(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.over = true
	if f.until != nil {
		delete(t.flows, f)
		t.endLocked(f)
	}
}

func (t *traffic) endLocked(f *flow) {
	r := f.until()
	t.ended.add(r)
	t.named.end(f.name, r)
	t.answer(f, r)
}

// answer observes the time to the first byte, once there was one.
func (t *traffic) answer(f *flow, r duplex.Result) {
	if r.First > 0 && f.answered.CompareAndSwap(false, true) {
		t.first.Observe((f.waited + r.First).Seconds())
	}
}

// look returns what was carried until now, by how many on streams and on lanes, and
// what of it by each name. Visitors come and go meanwhile: what ends after the list was
// made still tells what it has carried.
func (t *traffic) look() (sum carried, streams, lanes int, names []nameLook) {
	t.mu.Lock()
	sum = t.ended
	names = t.named.look()
	flows := make([]*flow, 0, len(t.flows))
	for f := range t.flows {
		flows = append(flows, f)
	}
	t.mu.Unlock()
	at := make(map[*namedCount]int, len(names))
	for i, n := range names {
		at[n.of] = i
	}
	for _, f := range flows {
		r := f.until()
		t.answer(f, r)
		sum.add(r)
		if r.Moved {
			lanes++
		} else {
			streams++
		}
		if i, ok := at[f.name]; ok {
			names[i].carried.add(r)
		}
	}
	return sum, streams, lanes, names
}

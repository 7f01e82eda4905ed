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
type carried struct{ streamIn, streamOut, laneIn, laneOut, hopIn, hopOut int64 }

// add adds what a flow has carried: between a visitor and a link of this node, or with
// hops to another node.
func (c *carried) add(r duplex.Result, hops bool) {
	in, out := &c.streamIn, &c.streamOut
	if hops {
		in, out = &c.hopIn, &c.hopOut
	}
	*in += r.AtoB - r.MovedAtoB
	*out += r.BtoA - r.MovedBtoA
	c.laneIn += r.MovedAtoB
	c.laneOut += r.MovedBtoA
}

// carriers is how many visitors there are by what carries their bytes.
type carriers struct{ streams, lanes, hops int }

// A flow is one visitor's bytes on their way.
type flow struct {
	hello  int           // bytes of the hello and what came with it, which the copying does not see
	waited time.Duration // from the whole hello to the beginning of the copying
	name   *namedCount   // may be nil
	hops   bool          // to another node

	until    func() duplex.Result // guarded by traffic.mu
	over     bool                 // likewise
	answered atomic.Bool          // the time to its first byte is observed
}

// begin counts a flow, which may be over already. Until says what it has carried.
func (t *traffic) begin(f *flow, until func() duplex.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.until = until
	if f.hops {
		t.ended.hopIn += int64(f.hello)
	} else {
		t.ended.streamIn += int64(f.hello)
	}
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
	t.ended.add(r, f.hops)
	t.named.end(f.name, r)
	t.answer(f, r)
}

// answer observes the time to the first byte, once there was one.
func (t *traffic) answer(f *flow, r duplex.Result) {
	if r.First > 0 && f.answered.CompareAndSwap(false, true) {
		t.first.Observe((f.waited + r.First).Seconds())
	}
}

// look returns what was carried until now, how many visitors there are by what carries
// them, and what was carried by each name. Visitors come and go meanwhile: what ends
// after the list was made still tells what it has carried.
func (t *traffic) look() (sum carried, now carriers, names []nameLook) {
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
		sum.add(r, f.hops)
		switch {
		case r.Moved:
			now.lanes++
		case f.hops:
			now.hops++
		default:
			now.streams++
		}
		if i, ok := at[f.name]; ok {
			names[i].carried.add(r, false)
		}
	}
	return sum, now, names
}

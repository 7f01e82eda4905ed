package relay

import (
	"time"

	"keystay/internal/duplex"
)

const (
	// MaxNamedMetrics is the most that Server.NamedMetrics may be.
	MaxNamedMetrics = 10000
	// namedSweep is how often names that nobody serves any more make room for others.
	namedSweep = time.Minute
	// otherNames stands for the names for which there is no room. It is no host name
	// that a device can have, which has a dot.
	otherNames = "other"
)

// namedTraffic counts by name, for so many names at most. It is guarded by the lock of
// its traffic; nil counts nothing.
type namedTraffic struct {
	most   int
	served func(name string) bool // whether a remote is connected for it
	all    map[string]*namedCount
	others namedCount
	swept  time.Time // when room was looked for last
}

// A namedCount is what the visitors of one name have done.
type namedCount struct {
	name     string
	visitors int64 // that came
	now      int   // that are here
	ended    carried
}

// A nameLook is a namedCount at one moment.
type nameLook struct {
	of       *namedCount
	name     string
	visitors int64
	carried  carried
}

// count counts a visitor of a name.
func (t *traffic) count(name string) *namedCount {
	if t.named == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.named.find(name)
	c.visitors++
	c.now++
	return c
}

func (n *namedTraffic) find(name string) *namedCount {
	if c := n.all[name]; c != nil {
		return c
	}
	if len(n.all) >= n.most && time.Since(n.swept) >= namedSweep {
		n.swept = time.Now()
		for name, c := range n.all {
			if c.now == 0 && !n.served(name) {
				delete(n.all, name)
			}
		}
	}
	if len(n.all) >= n.most {
		n.others.name = otherNames
		return &n.others
	}
	c := &namedCount{name: name}
	if n.all == nil {
		n.all = make(map[string]*namedCount)
	}
	n.all[name] = c
	return c
}

// end counts that a visitor has gone.
func (n *namedTraffic) end(c *namedCount, r duplex.Result) {
	if n != nil && c != nil {
		c.now--
		c.ended.add(r, false)
	}
}

// look returns what has ended, by name.
func (n *namedTraffic) look() (list []nameLook) {
	if n == nil {
		return nil
	}
	for _, c := range n.all {
		list = append(list, nameLook{c, c.name, c.visitors, c.ended})
	}
	if c := &n.others; c.visitors > 0 {
		list = append(list, nameLook{c, c.name, c.visitors, c.ended})
	}
	return list
}

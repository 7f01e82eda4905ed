package cluster

import "sync/atomic"

// places are so many at once of something. The zero value has none taken.
type places struct{ taken atomic.Int64 }

// enter takes a place where there is one of most.
func (p *places) enter(most int64) bool {
	if p.taken.Add(1) <= most {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *places) leave() { p.taken.Add(-1) }

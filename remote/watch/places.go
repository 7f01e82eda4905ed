package watch

import (
	"context"
	"slices"
	"sync"
)

// places are where looks run, of which there are so many. One name has three quarters of
// them at most. A place that becomes free goes to the name that has the fewest then, and
// among these to the one whose last turn was the longest ago: names with many slow looks
// do not keep another one waiting for all of these.
type places struct {
	mu      sync.Mutex
	free    int
	most    int // that one name may have
	waiting []*turn
	names   map[string]*share // that have a place, and all while somebody waits
	turns   int               // that were given so far
}

// A turn is a look that waits.
type turn struct {
	name string
	come chan struct{} // closed when it has a place
}

// A share is what a name has of the places.
type share struct {
	held int
	last int // the last of its turns
}

func newPlaces(n int) *places {
	return &places{free: n, most: max(1, 3*n/4), names: make(map[string]*share)}
}

// enter waits for a place for a look at a name. It reports false when ctx ends before.
func (p *places) enter(ctx context.Context, name string) bool {
	p.mu.Lock()
	t := &turn{name, make(chan struct{})}
	p.waiting = append(p.waiting, t)
	p.next()
	p.mu.Unlock()
	select {
	case <-t.come:
		return true
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, t); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return false
	}
	p.free++ // it has come meanwhile
	p.names[name].held--
	p.next()
	return false
}

// leave gives a place back.
func (p *places) leave(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	p.names[name].held--
	p.next()
}

// next gives free places to those whose turn it is. The mutex is held.
func (p *places) next() {
	for p.free > 0 && len(p.waiting) > 0 {
		first := -1
		for i := range p.waiting {
			if s := p.share(i); s.held < p.most && (first < 0 || s.before(p.share(first))) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		s := p.share(first)
		p.turns++
		p.free--
		s.held, s.last = s.held+1, p.turns
		close(p.waiting[first].come)
		p.waiting = slices.Delete(p.waiting, first, first+1)
	}
	if len(p.waiting) == 0 { // nobody has to be remembered who has no place
		for name, s := range p.names {
			if s.held == 0 {
				delete(p.names, name)
			}
		}
	}
}

// share returns what the name has that waits at i.
func (p *places) share(i int) *share {
	name := p.waiting[i].name
	if p.names[name] == nil {
		p.names[name] = new(share)
	}
	return p.names[name]
}

// before reports whether the next place is rather for s.
func (s *share) before(other *share) bool {
	if s.held != other.held {
		return s.held < other.held
	}
	return s.last < other.last
}

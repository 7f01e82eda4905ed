package remote

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"keystay/framing"
)

// nameLinks are the links of a device that have one name.
type nameLinks struct {
	mu     sync.Mutex
	links  map[*framing.Link]time.Time // each with the time from which a new certificate may be ordered
	up     chan struct{}               // closed while a link has the name
	down   chan struct{}               // closed while none has it
	was    bool                        // one has had it
	linked chan struct{}               // closed when another link has the name; nil while nobody waits for that
	lost   error                       // why no link has the name, while none has it
}

func newNameLinks() *nameLinks {
	n := &nameLinks{links: make(map[*framing.Link]time.Time), up: make(chan struct{}), down: make(chan struct{})}
	close(n.down)
	return n
}

// add notes that a link has the name, and that no new certificate may be ordered before
// from. It reports whether that link is the only one.
func (n *nameLinks) add(link *framing.Link, from time.Time) (first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first = len(n.links) == 0
	n.links[link] = from
	if n.linked != nil {
		close(n.linked)
		n.linked = nil
	}
	if first {
		close(n.up)
		n.down, n.lost, n.was = make(chan struct{}), nil, true
	}
	return first
}

// remove notes that a link does not have the name any more.
func (n *nameLinks) remove(link *framing.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, has := n.links[link]; !has {
		return
	}
	delete(n.links, link)
	if len(n.links) == 0 {
		n.up = make(chan struct{})
		close(n.down)
	}
}

// noteLoss keeps why no link has the name.
func (n *nameLinks) noteLoss(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = err
}

// loss reports whether a link has the name, and if not, why.
func (n *nameLinks) loss() (has bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links) > 0, n.lost
}

func (n *nameLinks) has(link *framing.Link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, has := n.links[link]
	return has
}

func (n *nameLinks) all() []*framing.Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.links))
}

// held returns until when no new certificate may be ordered from the first CA, as
// the relays say: the last of their times.
func (n *nameLinks) held() (until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, from := range n.links {
		if from.After(until) {
			until = from
		}
	}
	return until
}

// next returns what is closed when one more link has the name.
func (n *nameLinks) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.linked == nil {
		n.linked = make(chan struct{})
	}
	return n.linked
}

// gone returns what is closed when no link has the name, and whether one has ever had it.
func (n *nameLinks) gone() (down <-chan struct{}, was bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down, n.was
}

// wait waits until a link has the name, or ctx ends.
func (n *nameLinks) wait(ctx context.Context) error {
	n.mu.Lock()
	up := n.up
	n.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

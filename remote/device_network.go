package remote

import (
	"net/netip"
	"sync"

	"keystay/internal/budget"
	"keystay/internal/publicaddr"
)

const (
	// place is what a visitor counts for in networks.places: a network may have four
	// as long as there are any, and beyond that a share that shrinks as they are
	// taken, see package budget.
	place = budget.Floor / 4
	// A network is the least that a provider gives one customer, who may use all
	// addresses in it: so many bits of an address of IPv4, and of IPv6.
	networkBits4 = 24
	networkBits6 = 48
)

// networks shares the places for visitors among the networks that they come from,
// so that nobody takes all of them from one: a single greedy network gets half.
// Who is there is not cut for it. Visitors from within the device's own network, or
// whose address the relay does not know, share nothing.
type networks struct {
	places *budget.Budget

	mu sync.Mutex
	by map[netip.Prefix]*network
}

// A network has the visitors from it.
type network struct {
	share    *budget.Share
	visitors int
}

func newNetworks(most int) *networks {
	return &networks{places: budget.New(int64(most) * place), by: make(map[netip.Prefix]*network)}
}

// enter gives a visitor from a a place, if its network may have one more. The
// function it returns gives it back, and may be called several times.
func (n *networks) enter(a netip.Addr) (leave func(), ok bool) {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return func() {}, true
	}
	from := networkOf(a)
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.by[from]
	if w == nil {
		w = &network{share: n.places.Share()}
	}
	if w.share.Take(place, place) == 0 {
		return func() {}, false
	}
	w.visitors++
	n.by[from] = w
	return sync.OnceFunc(func() { n.leave(from) }), true
}

// networkOf returns the network of an address; the zero Prefix where it is none.
func networkOf(a netip.Addr) netip.Prefix {
	return publicaddr.Network(a, networkBits4, networkBits6)
}

func (n *networks) leave(from netip.Prefix) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.by[from]
	w.share.Put(place)
	if w.visitors--; w.visitors == 0 {
		delete(n.by, from)
	}
}

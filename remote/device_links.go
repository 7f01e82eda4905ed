package remote

import (
	"cmp"
	"slices"
	"time"

	"keystay/framing"
)

// A LinkStatus is a link to a relay as it is now.
type LinkStatus struct {
	Relay string        // its host name, with the port where that is not 443
	Node  string        // of the relay, where it runs on several machines; "" where it does not say so
	RTT   time.Duration // of the last round trip that was measured; 0 before the first
	Since time.Time     // when it came up
}

// linked is what the device notes of a link.
type linked struct {
	relay string
	berth *berth
	since time.Time
}

// status is the link as it is now.
func (n linked) status(link *framing.Link) LinkStatus {
	return LinkStatus{Relay: n.relay, Node: n.berth.where(), RTT: link.RTT(), Since: n.since}
}

// Links returns the links that are up, in the order of their relays, the oldest first.
func (d *Device) Links() (all []LinkStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for link, n := range d.links {
		if link.Err() == nil { // else its last visitors are left, on lanes
			all = append(all, n.status(link))
		}
	}
	slices.SortFunc(all, func(a, b LinkStatus) int {
		return cmp.Or(cmp.Compare(a.Relay, b.Relay), a.Since.Compare(b.Since))
	})
	return all
}

// Relays returns the relays that lead the name here now, each once and in order.
func (l *Listener) Relays() (all []string) {
	links := l.links.all()
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for _, link := range links {
		if n, ok := l.d.links[link]; ok {
			all = append(all, n.relay)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

package watch

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// led returns the probes of where HTTPS records lead browsers, which go to the name's own
// port or to 443, that are not in a list yet. They are as those beside the name's own port:
// another server there is nothing to tell. Browsers go on without such records where DNS has
// none or does not answer, and so does the watch.
func (w *Watch) led(ctx context.Context, n *Name, port int, list []*probing, first bool) (more []*probing) {
	var at, known []netip.AddrPort
	var own []netip.Addr
	for _, p := range list {
		if p.ip.IsValid() {
			known, own = append(known, p.ip), append(own, p.ip.Addr())
		}
	}
	most := lookBeside
	if first {
		most = glance / 2 // the look itself has to find room, too
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range w.Resolvers {
		r := &w.Resolvers[i]
		for _, p := range append([]int{port}, portsBeside(port, []int{httpsPort})...) {
			if r.Services == nil {
				continue
			}
			wg.Go(func() {
				all, _ := r.Services(ctx, n.Domain, p)
				for _, s := range all {
					found := slices.Concat(s.Hints, r.addresses(ctx, s.Host, n.Domain, own))
					mu.Lock()
					for _, a := range found {
						at = append(at, netip.AddrPortFrom(a.Unmap(), uint16(s.Port)))
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for _, a := range at {
		if a.Port() == 0 || slices.Contains(known, a) || len(known)-len(own) >= maxAddresses {
			continue
		}
		known = append(known, a)
		for j := range w.Ways {
			more = append(more, &probing{name: n, way: &w.Ways[j], address: a.String(), ip: a, beside: true, roots: w.Roots})
		}
	}
	return more
}

// addresses are those of a host; own are those of the name itself.
func (r *Resolver) addresses(ctx context.Context, host, name string, own []netip.Addr) []netip.Addr {
	if host == name {
		return own
	}
	found, _ := r.Lookup(ctx, host)
	return found
}

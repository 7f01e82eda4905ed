package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keystay/internal/plain"
)

// A lead is what one resolver tells of where HTTPS records lead: at is nil where DNS does not
// tell of it.
type lead struct {
	at     []netip.AddrPort
	failed []Result
}

// led returns the probes of where HTTPS records lead browsers, which go to the name's own
// port or to 443, that are not in a list yet. They are as those beside the name's own port:
// another server there is nothing to tell. Browsers go on without such records where DNS has
// none or does not answer, and so does the watch. What there is and is not looked at is told
// in the results.
func (w *Watch) led(ctx context.Context, n *Name, port int, list []*probing, first bool) (more []*probing, failed []Result) {
	var own []netip.Addr
	known := make(map[netip.AddrPort]bool)
	for _, p := range list {
		if p.ip.IsValid() {
			known[p.ip], own = true, append(own, p.ip.Addr())
		}
	}
	most := lookBeside
	if first {
		most = glance / 2 // the look itself has to find room, too
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ports := append([]int{port}, portsBeside(port, []int{httpsPort})...)
	leads := make([]lead, len(w.Resolvers)*len(ports))
	var wg sync.WaitGroup
	for i := range leads {
		if r := &w.Resolvers[i/len(ports)]; r.Services != nil {
			wg.Go(func() { leads[i] = r.lead(ctx, n, ports[i%len(ports)], own, first) })
		}
	}
	wg.Wait()
	places, over := 0, 0
	for _, l := range leads {
		failed = append(failed, l.failed...)
		for _, a := range l.at {
			if a.Port() == 0 || known[a] {
				continue
			}
			known[a] = true
			if places++; places > maxAddresses {
				over++
				continue
			}
			for j := range w.Ways {
				more = append(more, &probing{name: n, way: &w.Ways[j], address: a.String(), ip: a, beside: true, roots: w.Roots})
			}
		}
	}
	if over > 0 {
		failed = append(failed, n.notLed(fmt.Sprintf("has HTTPS records that lead to %d places more than are looked at in one round", over)))
	}
	return more, failed
}

// lead asks for the HTTPS records of a name at a port, and then for the addresses of all their
// hosts at once: one whose DNS is silent hides no other. Own are the addresses of the name.
// That the short time of the first round was not enough says nothing yet.
func (r *Resolver) lead(ctx context.Context, n *Name, port int, own []netip.Addr, first bool) (l lead) {
	late := func() bool { return first && ctx.Err() != nil }
	all, err := r.Services(ctx, n.Domain, port)
	if err != nil && !late() {
		l.failed = append(l.failed, n.notLed("has HTTPS records that cannot be followed, as "+r.Name+" says: "+notFound(err)))
	}
	of := make(map[string]*found)
	var hosts []string
	for _, s := range all {
		if of[s.Host] == nil {
			hosts = append(hosts, s.Host)
			of[s.Host] = &found{addresses: own}
		}
	}
	var wg sync.WaitGroup
	for i, host := range hosts {
		switch f := of[host]; {
		case host == n.Domain:
		case i >= maxAddresses:
			f.addresses, f.err = nil, errors.New("there are too many of them")
		default:
			wg.Go(func() {
				f.addresses, f.err = r.Lookup(ctx, host)
				f.late = late()
			})
		}
	}
	wg.Wait()
	for _, s := range all {
		for _, a := range slices.Concat(s.Hints, of[s.Host].addresses) {
			l.at = append(l.at, netip.AddrPortFrom(a.Unmap(), uint16(s.Port)))
		}
	}
	for _, host := range hosts {
		if f := of[host]; host != n.Domain && len(f.addresses) == 0 && !f.late {
			l.failed = append(l.failed, n.notLed(fmt.Sprintf("has an HTTPS record that leads to %s, which is not found in DNS, as %s says: %s",
				plain.Cut(plain.Text(host), 120), r.Name, notFound(cmp.Or(f.err, errors.New("no address"))))))
		}
	}
	return l
}

// found are the addresses of a host. Late says that there was too little time for them.
type found struct {
	addresses []netip.Addr
	err       error
	late      bool
}

// notLed is the result of places that are not looked at.
func (n *Name) notLed(why string) Result {
	return Result{Name: n.Domain, State: NotRun, Step: AtLookup, Why: why, Time: time.Now()}
}

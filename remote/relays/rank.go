package relays

import (
	"cmp"
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/relaylist"
	"keystay/remote"
)

const (
	// askTimeout is how long one relay may take to be asked, and rankTimeout all of them.
	askTimeout, rankTimeout = 4 * time.Second, 12 * time.Second
	// askedAtOnce is how many are asked at a time.
	askedAtOnce = 64
)

// A Need is what a device wants of its relay. The zero value is a new name below it.
type Need struct {
	KeyName bool     // names made from the device's key, and no other new ones
	Domains []string // whole names, in normal form, below a relay or domains of the owner's
	Ports   bool     // TCP ports too

	// HasToken reports whether a token is kept for a relay; nil is none.
	HasToken func(relay string) bool
}

// A Ranked is a relay of a list, with what came of asking it.
type Ranked struct {
	relaylist.Relay
	About remote.About
	Err   error  // why it was not reached, with hints
	Lacks string // why it cannot serve what is wanted, for people; empty where it can
}

// Fits reports whether the relay can be taken.
func (r *Ranked) Fits() bool { return r.Err == nil && r.Lacks == "" }

// Rank asks all relays at once and returns them, the best one first: before those that
// cannot serve what is wanted are those that can, and behind both those that were not
// reached. The nearest one counts most, by the round trip.
func Rank(ctx context.Context, list []relaylist.Relay, need Need, ask func(ctx context.Context, relay string) (remote.About, error)) []Ranked {
	ctx, cancel := context.WithTimeout(ctx, rankTimeout)
	defer cancel()
	all := make([]Ranked, len(list))
	places := make(chan struct{}, askedAtOnce)
	var wg sync.WaitGroup
	for i, r := range list {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			short, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			all[i].Relay = r
			if all[i].About, all[i].Err = ask(short, r.Address); all[i].Err == nil {
				all[i].Lacks = need.lacks(r.Address, &all[i].About, list)
			}
		})
	}
	wg.Wait()
	order := func(r *Ranked) int {
		switch {
		case r.Fits():
			return 0
		case r.Err == nil:
			return 1
		}
		return 2
	}
	slices.SortFunc(all, func(a, b Ranked) int {
		return cmp.Or(cmp.Compare(order(&a), order(&b)), cmp.Compare(a.About.RoundTrip, b.About.RoundTrip), cmp.Compare(a.Address, b.Address))
	})
	return all
}

// lacks says why a relay of a list cannot serve what is wanted, or "".
func (n *Need) lacks(relay string, a *remote.About, list []relaylist.Relay) string {
	hasToken := n.HasToken != nil && n.HasToken(relay)
	gives := func(policy, what string) string {
		switch {
		case policy == "open", policy == "token" && hasToken:
			return ""
		case policy == "token":
			return "it asks for a token for " + what
		}
		return "it gives out no " + what
	}
	if n.Ports && a.TCPPorts == "" {
		return "it has no TCP ports"
	}
	if n.KeyName {
		if why := gives(a.KeyNames, "names made from keys"); why != "" {
			return why
		}
	}
	for _, domain := range n.Domains {
		if why := lacksDomain(domain, relay, a, list); why != "" {
			return why
		}
	}
	if len(n.Domains) == 0 && n.KeyName && !n.Ports {
		return ""
	}
	return gives(a.Policy, "new names")
}

// lacksDomain says why a relay cannot serve a whole name: it belongs to the relay above
// it, or it is a domain of its owner's.
func lacksDomain(domain, relay string, a *remote.About, list []relaylist.Relay) string {
	if hostname.IsBelow(domain, hostOf(relay)) {
		return ""
	}
	for _, other := range list {
		if hostname.IsBelow(domain, hostOf(other.Address)) {
			return domain + " is a name of " + other.Address
		}
	}
	if !a.CustomDomains {
		return "it takes no domain of one's own, as " + domain + " is"
	}
	return ""
}

// hostOf returns the host of a relay's address.
func hostOf(relay string) string {
	if host, _, err := net.SplitHostPort(relay); err == nil {
		return host
	}
	return relay
}

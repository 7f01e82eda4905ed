package limits

import (
	"net/netip"
	"time"
)

// A Kind is something new that an address asks for.
type Kind int

// The kinds.
const (
	NewIdentity Kind = iota // an identity that the relay sees for the first time
	NewName                 // a name that is granted for the first time
	DomainProof             // a name that others are asked about: DNS, or an outside decision
	Turn                    // a replica's turn to order a certificate, of a relay on several machines
)

// turnRate is how many turns an address may begin, and turnsAtOnce how many at once. All nodes
// are told of each, and know so many.
var turnRate = Rate{12, time.Minute}

const turnsAtOnce = 64

// Allow counts something new for an address, or says after how long it may be
// asked for again. What turns out not to be granted still counts.
func (a *Addresses) Allow(k Kind, addr netip.Addr) (ok bool, retry time.Duration) {
	return a.AllowAll(k, 1, addr)
}

// AllowAll is Allow for several at once, all of them or none. More than may come at once
// come when none has come for long enough, and are paid for afterwards.
func (a *Addresses) AllowAll(k Kind, many int, addr netip.Addr) (ok bool, retry time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.readyLocked()
	if addr = addr.Unmap().WithZone(""); a.exemptLocked(addr) {
		return true, 0
	}
	list, n := prefixesOf(addr)
	var at [2]*bucket
	for i, p := range list[:n] {
		e := a.claims.find(p, now)
		defer a.claims.settle(e)
		at[i] = e.asked(k)
		retry = max(retry, at[i].afterAll(now, a.mayOf(p).asked(k), many))
	}
	if retry > 0 {
		a.counts().Add(AddressIdentities + Reason(k))
		return false, retry
	}
	for i, p := range list[:n] {
		for range many {
			at[i].take(now, a.mayOf(p).asked(k))
		}
	}
	return true, 0
}

func (e *entry) asked(k Kind) *bucket {
	return [...]*bucket{NewIdentity: &e.joined, NewName: &e.named, DomainProof: &e.proved, Turn: &e.turned}[k]
}

func (m *allowance) asked(k Kind) pass {
	return [...]pass{NewIdentity: m.joined, NewName: m.named, DomainProof: m.proved, Turn: m.turned}[k]
}

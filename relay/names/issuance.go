package names

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keystay/internal/hostname"
)

const (
	// issuanceWeek is the time in which CertificatesPerWeek new names may have their
	// first certificate. What a CA allows for a registered domain is refilled one by
	// one (Let's Encrypt: 50 in 7 days, so one in 202 minutes).
	issuanceWeek = 7 * 24 * time.Hour
	// maxSlot is how far away a slot may be. A name that would get one later takes
	// none, and asks again.
	maxSlot = 4 * issuanceWeek
	// keptSlot is how long it is remembered that a name had its slot, if nobody has
	// the name any more.
	keptSlot = 2 * GraceTime
)

// An Issuance says how much of the CA's limit for the zone is left. The relay
// counts the names that it has told to order. What others order for names of the
// zone it cannot know.
type Issuance struct {
	PerWeek int           `json:"per_week"` // 0 is no limit, and then nothing is counted
	Left    int           `json:"left"`     // how many new names may order at once
	Waiting int           `json:"waiting"`  // how many wait for their slot
	Next    time.Duration `json:"next"`     // how long a name would wait that came now
}

// A slot is the time from which on a name may order its first certificate.
type slot struct {
	At time.Time `json:"at"`
}

// bucketKey is the key of the bucket in the table of the slots, whose other keys are
// names.
var bucketKey = []byte(".")

// A bucket has the slots that may be taken at once: perWeek of them when it is full.
// Each step, a perWeek-th of issuanceWeek, brings one more.
type bucket struct {
	// Full is when it will be full again, if no further slot is taken: each moves it
	// by a step.
	Full time.Time `json:"full"`
}

// next returns when the next slot is, and the bucket after it was taken. Left is how
// much of the bucket is left to others, as a part of issuanceWeek: with it the slot
// comes later.
func (b bucket) next(now time.Time, perWeek int, left time.Duration) (at time.Time, after bucket) {
	full := b.Full
	if full.Before(now) {
		full = now
	}
	full = full.Add(issuanceWeek / time.Duration(perWeek))
	if at = full.Add(left - issuanceWeek); at.Before(now) {
		at = now
	}
	return at, bucket{full}
}

// decodeSlot reads a value of the table of slots; nil is the zero value.
func decodeSlot(b []byte, v any) error {
	if b == nil {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: a slot cannot be read", ErrDamaged)
	}
	return nil
}

// slotOf returns when the slot of a name is, or the zero time.
func (l *ledger) slotOf(name string) (time.Time, error) {
	var t slot
	err := decodeSlot(l.Get(tableIssued, []byte(name)), &t)
	return t.At, err
}

// takeSlot takes a slot for a name, and returns when that is. It takes none for a
// name that has one, nor one that is further away than the bound says.
func (l *ledger) takeSlot(name string, perWeek int, within bound) (at time.Time, taken bool, err error) {
	if at, err = l.slotOf(name); err != nil || !at.IsZero() {
		return at, false, err
	}
	var b bucket
	if err := decodeSlot(l.Get(tableIssued, bucketKey), &b); err != nil {
		return at, false, err
	}
	at, b = b.next(l.Now(), perWeek, within.left)
	if at.Sub(l.Now()) > within.most {
		return at, false, nil
	}
	for key, value := range map[string]any{name: slot{at}, string(bucketKey): b} {
		v, err := json.Marshal(value)
		if err != nil {
			return at, false, err
		}
		if err := l.Set(tableIssued, []byte(key), v); err != nil {
			return at, false, err
		}
	}
	return at, true, nil
}

// orderIn returns how long the device of a claimant waits before it orders a first
// certificate for a name that it has got. A new name takes a slot: one that the
// device had no grant for, and no certificate. So do names made from keys, which
// have no grants. Renewals, and custom domains, count at no CA for the zone.
//
// When the record cannot tell, the device does not wait: the CA has the last word.
func (n *Names) orderIn(c *Claimant, isNew, vouched bool) time.Duration {
	perWeek := n.InForce().CertificatesPerWeek
	if perWeek <= 0 || c.Certified || !hostname.IsBelow(c.Name, n.zone) {
		return 0
	}
	var at time.Time
	var in time.Duration
	err := n.view(func(l *ledger) (err error) {
		at, err = l.slotOf(c.Name)
		in = max(0, at.Sub(l.Now()))
		return err
	})
	if err == nil && at.IsZero() && isNew {
		in, err = n.takeSlot(c, perWeek, vouched)
	}
	if err != nil {
		return 0
	}
	return in
}

// takeSlot takes a slot for a new name, if one is left for it, and returns how long
// away that is.
//
// Keys cost nothing, so anybody can ask for slots without end, and never order
// anything. Therefore names that no token has opened have a part only: those of one
// network, see Names.Network, take a quarter of all slots at most. Where new names
// take a token, names made from keys, which take none, also leave half of the bucket
// to the others, and none of them takes a slot that is later than now. So nobody with
// a token waits behind them.
func (n *Names) takeSlot(c *Claimant, perWeek int, vouched bool) (in time.Duration, err error) {
	within := bound{most: maxSlot}
	var of netip.Prefix
	if r := n.InForce(); !vouched {
		if r.Policy == WithToken || r.Policy == Closed {
			within = bound{left: issuanceWeek / 2}
		}
		if n.Network != nil {
			of = n.Network(c.Source)
		}
	}
	if of.IsValid() {
		if in := n.parts.take(of, perWeek); in > 0 {
			return in, nil
		}
	}
	taken := false
	err = n.update(func(l *ledger) (err error) {
		var at time.Time
		at, taken, err = l.takeSlot(c.Name, perWeek, within)
		in = max(0, at.Sub(l.Now()))
		return err
	})
	if of.IsValid() && (err != nil || !taken) {
		n.parts.put(of, perWeek)
	}
	return in, err
}

// A bound says which slots a claim may take.
type bound struct {
	left time.Duration // how much of the bucket is left to others, as a part of issuanceWeek
	most time.Duration // how far away a slot may be
}

// maxParts is how many networks are remembered before those are forgotten whose
// bucket is full again.
const maxParts = 1024

// parts are the networks that have taken slots, each with a bucket of its own that
// is a quarter of all. They are forgotten when the process ends. The zero value is
// ready.
type parts struct {
	mu sync.Mutex
	of map[netip.Prefix]bucket
}

// part is how many slots one network may take in a week.
func part(perWeek int) int { return max(1, perWeek/4) }

// take takes a slot of a network, or returns how long away the next one is.
func (p *parts) take(of netip.Prefix, perWeek int) (in time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	at, after := p.of[of].next(now, part(perWeek), 0)
	if in = at.Sub(now); in > 0 {
		return in
	}
	if p.of == nil {
		p.of = make(map[netip.Prefix]bucket)
	}
	if len(p.of) >= maxParts {
		maps.DeleteFunc(p.of, func(_ netip.Prefix, b bucket) bool { return b.Full.Before(now) })
	}
	p.of[of] = after
	return 0
}

// put gives a slot of a network back.
func (p *parts) put(of netip.Prefix, perWeek int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.of[of]
	p.of[of] = bucket{b.Full.Add(-issuanceWeek / time.Duration(part(perWeek)))}
}

// Issuance says how much of the CA's limit is left.
func (n *Names) Issuance() (i Issuance, err error) {
	i.PerWeek = n.InForce().CertificatesPerWeek
	if i.PerWeek <= 0 {
		return i, nil
	}
	err = n.view(func(l *ledger) error {
		var b bucket
		if err := decodeSlot(l.Get(tableIssued, bucketKey), &b); err != nil {
			return err
		}
		at, _ := b.next(l.Now(), i.PerWeek, 0)
		i.Next = at.Sub(l.Now())
		step := issuanceWeek / time.Duration(i.PerWeek)
		i.Left = min(i.PerWeek, max(0, int((issuanceWeek-max(0, b.Full.Sub(l.Now())))/step)))
		return l.slots(func(_ string, t slot) {
			if t.At.After(l.Now()) {
				i.Waiting++
			}
		})
	})
	return i, err
}

// slots calls f with each slot.
func (l *ledger) slots(f func(name string, t slot)) error {
	for k, v := range l.From(tableIssued, nil) {
		if slices.Equal(k, bucketKey) {
			continue
		}
		var t slot
		if err := decodeSlot(v, &t); err != nil {
			return err
		}
		f(string(k), t)
	}
	return nil
}

// sweepSlots forgets up to limit slots that are long over, of names that nobody has.
func (l *ledger) sweepSlots(limit int) error {
	var over []string
	err := l.slots(func(name string, t slot) {
		if len(over) < limit && l.Now().Sub(t.At) > keptSlot && l.Get(tableGrants, []byte(name)) == nil {
			over = append(over, name)
		}
	})
	for _, name := range over {
		if err == nil {
			err = l.Set(tableIssued, []byte(name), nil)
		}
	}
	return err
}

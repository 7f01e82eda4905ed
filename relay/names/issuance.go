package names

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
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

// next returns when the next slot is, and the bucket after it was taken.
func (b bucket) next(now time.Time, perWeek int) (at time.Time, after bucket) {
	full := b.Full
	if full.Before(now) {
		full = now
	}
	full = full.Add(issuanceWeek / time.Duration(perWeek))
	if at = full.Add(-issuanceWeek); at.Before(now) {
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

// slotOf returns when the slot of a name is. With take one is taken for a name that
// has none, if it is not too far away. The zero time is at once.
func (l *ledger) slotOf(name string, perWeek int, take bool) (at time.Time, err error) {
	if v := l.Get(tableIssued, []byte(name)); v != nil || !take {
		var t slot
		err := decodeSlot(v, &t)
		return t.At, err
	}
	var b bucket
	if err := decodeSlot(l.Get(tableIssued, bucketKey), &b); err != nil {
		return at, err
	}
	at, b = b.next(l.Now(), perWeek)
	if at.Sub(l.Now()) > maxSlot {
		return at, nil
	}
	for key, value := range map[string]any{name: slot{at}, string(bucketKey): b} {
		v, err := json.Marshal(value)
		if err != nil {
			return at, err
		}
		if err := l.Set(tableIssued, []byte(key), v); err != nil {
			return at, err
		}
	}
	return at, nil
}

// orderIn returns how long the device of a claimant waits before it orders a first
// certificate for a name that it has got. A new name takes a slot: one that the
// device had no grant for, and no certificate. So do names made from keys, which
// have no grants. Renewals, and custom domains, count at no CA for the zone.
//
// When the record cannot tell, the device does not wait: the CA has the last word.
func (n *Names) orderIn(c *Claimant, isNew bool) time.Duration {
	perWeek := n.InForce().CertificatesPerWeek
	if perWeek <= 0 || c.Certified || !below(c.Name, n.zone) {
		return 0
	}
	var in time.Duration
	ask := func(l *ledger, take bool) (taken bool, err error) {
		at, err := l.slotOf(c.Name, perWeek, take)
		in = max(0, at.Sub(l.Now()))
		return !at.IsZero(), err
	}
	var has bool
	err := n.view(func(l *ledger) (err error) {
		has, err = ask(l, false)
		return err
	})
	if err == nil && !has && isNew {
		err = n.update(func(l *ledger) error {
			_, err := ask(l, true)
			return err
		})
	}
	if err != nil {
		return 0
	}
	return in
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
		at, _ := b.next(l.Now(), i.PerWeek)
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

package names

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"keystay/internal/keyname"
)

// A Status says what has become of a grant.
type Status string

// What a grant may be.
const (
	Held   Status = "held"   // the identity has the name
	Lapsed Status = "lapsed" // it had it until lately, and the name is kept from others
)

// A Grant is whose a name is, or was until lately.
type Grant struct {
	Name     string    `json:"name"`
	Identity string    `json:"identity"` // the label made from its key
	Status   Status    `json:"status"`
	Since    time.Time `json:"since"`
	Seen     time.Time `json:"seen"` // to a day
	// Until is when the name expires, if its identity is not seen until then, or
	// when a name that has lapsed is free.
	Until time.Time `json:"until"`
	Token string    `json:"token,omitempty"` // the id of the token that opened it
	Proof *Proof    `json:"proof,omitempty"` // of a custom domain
}

// grantOf makes the public form of a grant.
func (l *ledger) grantOf(name string, gr *grant) Grant {
	g := Grant{Name: name, Identity: keyname.Label(gr.Key, ""), Status: Held, Since: gr.Since, Seen: gr.Seen,
		Until: gr.Seen.Add(l.expiry()), Token: gr.Token, Proof: gr.Proof}
	if !l.live(gr) {
		g.Status, g.Until = Lapsed, l.keptUntil(gr)
	}
	return g
}

// maxLooked is how many grants one page of a list looks through, if no more are wanted.
const maxLooked = 4096

// Filter says which grants List returns. The zero value is all.
type Filter struct {
	Contains string // a part of the name
	Identity string // a label made from a key
}

// List returns up to limit grants in the order of their names, of names that come
// after the name after. It looks through maxLooked at most, or as many as are wanted:
// meanwhile nobody else reads the record. Last is the name that it looked at last,
// and more reports that there may be further ones behind it.
func (n *Names) List(f Filter, after string, limit int) (list []Grant, last string, more bool, err error) {
	err = n.view(func(l *ledger) error {
		looked := 0
		for k, v := range l.From(tableGrants, []byte(after)) {
			name := string(k)
			if name == after {
				continue
			}
			if len(list) == limit || looked == max(limit, maxLooked) {
				more = true
				return nil
			}
			looked++
			last = name
			if !strings.Contains(name, f.Contains) {
				continue
			}
			gr, err := parseGrant(v)
			if err != nil {
				return err
			}
			if l.over(gr) || f.Identity != "" && keyname.Label(gr.Key, "") != f.Identity {
				continue
			}
			list = append(list, l.grantOf(name, gr))
		}
		return nil
	})
	return list, last, more, err
}

// Show returns the grant of a name. The error wraps ErrNone when there is none.
func (n *Names) Show(name string) (g Grant, err error) {
	err = n.view(func(l *ledger) error {
		gr, err := l.raw(name)
		switch {
		case err != nil:
			return err
		case gr == nil || l.over(gr):
			return fmt.Errorf("a grant of %s: %w", name, ErrNone)
		}
		g = l.grantOf(name, gr)
		return nil
	})
	return g, err
}

// Take takes a name from the identity that has it, as the operator wills: from
// then on it is kept from others for GraceTime, since the device that had it may still
// have a certificate for it. With free it is free at once; then it may also be a name
// that has lapsed. The error wraps ErrNone when nobody has the name.
func (n *Names) Take(name, reason string, free bool) (g Grant, err error) {
	var had *grant
	err = n.update(func(l *ledger) error {
		gr, err := l.raw(name)
		switch {
		case err != nil:
			return err
		case gr == nil || l.over(gr) || !free && !l.live(gr):
			return fmt.Errorf("a grant of %s: %w", name, ErrNone)
		}
		had, g = gr, l.grantOf(name, gr)
		if free {
			return l.drop(name, gr)
		}
		return l.lapse(name, gr, l.Now().Add(GraceTime))
	})
	if err != nil {
		return g, err
	}
	text := "the relay's operator has taken the name back"
	if reason != "" {
		text += ": " + reason
	}
	if g.Status == Held {
		n.lost(had.Key, &Denied{Name: name, Code: DeniedTaken, Text: text})
	}
	n.changed(Change{What: "released", Name: name, Key: had.Key, Reason: text})
	return g, nil
}

// A Holding is a name, and the identity that uses it now.
type Holding struct {
	Name string
	Key  ed25519.PublicKey
}

// stale returns the grant of a name that its identity uses now, if the record has an
// older time for that. It returns nil for an identity that has lost the name.
func (l *ledger) stale(h Holding) (*grant, error) {
	gr, err := l.raw(h.Name)
	// Well before it expires: another node may be about to sweep it.
	step := min(seenStep, l.expiry()/2)
	if gr == nil || !bytes.Equal(h.Key, gr.Key) || !gr.Until.IsZero() || l.Now().Sub(gr.Seen) < step {
		return nil, err
	}
	return gr, err
}

// renew notes that identities use their names now. Whoever was connected until
// now keeps its name even if the grant looks as if it had expired.
func (n *Names) renew(list []Holding) error {
	var old []Holding
	err := n.view(func(l *ledger) error {
		for _, h := range list {
			gr, err := l.stale(h)
			if err != nil {
				return err
			}
			if gr != nil {
				old = append(old, h)
			}
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return n.update(func(l *ledger) error {
		for _, h := range old {
			gr, err := l.stale(h)
			if gr != nil && err == nil {
				err = l.seen(h.Name, gr)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Seen notes that the identity has used its names until now.
func (n *Names) Seen(names []string, key ed25519.PublicKey) error {
	var list []Holding
	for _, name := range names {
		if _, alone := madeBy(name, n.zone); !alone {
			list = append(list, Holding{name, key})
		}
	}
	if list == nil {
		return nil
	}
	return n.renew(list)
}

// Remember notes the labels made from keys among names that go away now: their
// visitors wait.
func (n *Names) Remember(names []string) {
	for _, name := range names {
		if _, alone := madeBy(name, n.zone); alone {
			n.recent.add(name)
		}
	}
}

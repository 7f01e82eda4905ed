package names

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/keyname"
)

// A Claimant is who asks for a name.
type Claimant struct {
	Name   string // normalised
	Key    ed25519.PublicKey
	Token  string     // may be empty
	Source netip.Addr // where its link comes from; the zero Addr is not known

	// Word is what the label of a name made from the key is made of, too; it may be
	// empty.
	Word string

	// Port is the number that the device has asked for, where Name is a TCP port's: see
	// ChoosePort. It is kept with the grant.
	Port uint16

	// Certified says that the device has a certificate for the name: it needs no slot
	// to order a first one.
	Certified bool

	// First says that the identity has no name yet, beside the one made from its key.
	// It is set for Quota alone.
	First bool

	// Retires is how many identities hand over to this one, each of which counts as a new
	// name; 0 for a claim. It is set for Quota alone.
	Retires int
}

func (c *Claimant) deny(code Code, text string, hints ...string) *Denied {
	return &Denied{Name: c.Name, Code: code, Text: text, Hints: hints}
}

// A Granted is what an identity is told with a name that it has got.
type Granted struct {
	// OrderIn is how long to wait before a first certificate is ordered for the
	// name: the CA has a limit for the zone.
	OrderIn time.Duration
}

// sweptByClaim is how many expired grants a claim drops before it adds one: more
// than one, so that they become fewer.
const sweptByClaim = 4

// Claim decides whether the identity may use a name, and remembers it if so. The
// error is a *Denied, or says why it could not be decided. It may take as long as
// Prove and Ask do.
//
// The claim is decided in a transaction that only reads, so that one that is denied,
// or is of a name that the identity has, costs no write. What has to be asked of
// others is asked outside of it, and then it is decided anew. A claim that is granted
// is decided once more in the transaction that writes it down, so that of two claims
// at once the second one sees the first.
func (n *Names) Claim(ctx context.Context, c Claimant) (Granted, error) {
	if len(c.Key) != ed25519.PublicKeySize {
		return Granted{}, c.deny(DeniedInvalid, "no device's key")
	}
	if name, err := hostname.Normalize([]byte(c.Name)); (err != nil || name != c.Name) && !IsPort(c.Name) {
		return Granted{}, c.deny(DeniedInvalid, "not a host name in lower case")
	}
	if label, alone := madeBy(c.Name, n.zone); label != "" {
		// A label made from a key is for that key, whatever the policy, and so is
		// what is below it, also before that key has come. The label is kept nowhere:
		// it proves itself.
		if label != keyname.Label(c.Key, c.Word) {
			return Granted{}, c.deny(DeniedTaken, "this label is made from another device's key")
		}
		if alone {
			var g Granted
			err := Sure(ctx, n, func() (err error) {
				g, err = n.claimKeyName(&c)
				return err
			})
			return g, err
		}
	}
	stale := n.Fresh(ctx)
	var v verdict
	var known answers
	for {
		err := n.view(func(l *ledger) (err error) {
			v, err = n.decide(l, &c, &known)
			return err
		})
		if err != nil || v.ask == nil {
			if err != nil {
				return Granted{}, err
			}
			break
		}
		v.ask(ctx)
	}
	switch {
	case v.write != nil:
		g, err := n.write(&c, &known, v)
		return g, doubt(err, stale)
	case v.denial != nil:
		return Granted{}, doubt(v.denial, stale)
	}
	// The name is the identity's, also while that it is seen now cannot be written
	// down, as on a disk that is full.
	_ = n.renew([]Holding{{c.Name, c.Key}})
	return n.granted(&c, false, false), nil
}

// write decides once more about a claim, now in a transaction that writes, and writes
// it down if it is granted. First is what was decided in one that only reads.
func (n *Names) write(c *Claimant, known *answers, first verdict) (Granted, error) {
	isNew := !first.own && first.denial == nil
	if isNew && n.Quota != nil {
		if err := n.view(func(l *ledger) error {
			held, err := l.heldOrKept(c.Key)
			c.First = held == 0
			return err
		}); err != nil {
			return Granted{}, err
		}
		if again, ok := n.Quota(*c); !ok {
			d := c.deny(DeniedLimit, "too many new names come from this network", "wait, or ask the relay's operator")
			d.Retry = again
			return Granted{}, d
		}
	}
	var v verdict
	var expired []Change
	err := n.update(func(l *ledger) (err error) {
		expired = nil
		v, err = n.decide(l, c, known)
		switch {
		case err != nil:
			return err
		case v.ask != nil: // the name has changed since others were asked
			v = verdict{denial: c.deny(DeniedUnavailable, "somebody else has changed this name meanwhile")}
			return nil
		case v.write == nil:
			return nil
		case isNew:
			if _, err := l.sweep(sweptByClaim, noteExpired(&expired)); err != nil {
				return err
			}
		}
		return v.write(l)
	})
	if err != nil && !first.own {
		return Granted{}, err
	}
	for _, e := range expired {
		n.changed(e)
	}
	n.forsaken(v)
	switch {
	case v.denial != nil:
		return Granted{}, v.denial
	case !v.own:
		n.changed(Change{What: "granted", Name: c.Name, Key: c.Key, Token: v.token})
	}
	return n.granted(c, isNew && !v.own, v.vouched), nil
}

// noteExpired returns a function that adds names that have expired to list.
func noteExpired(list *[]Change) func(string, []byte) {
	return func(name string, key []byte) {
		*list = append(*list, Change{What: "expired", Name: name, Key: key, Reason: "not used for long"})
	}
}

// forsaken tells the identity that had the name until now that it is lost.
func (n *Names) forsaken(v verdict) {
	if v.loser != nil {
		n.lost(v.loser, v.lost)
		n.changed(Change{What: "lost", Name: v.lost.Name, Key: v.loser, Reason: v.lost.Text})
	}
}

// claimKeyName decides about the name made from the identity's key.
func (n *Names) claimKeyName(c *Claimant) (Granted, error) {
	if b, ok := n.Banned(c.Name, c.Key, c.Source); ok {
		return Granted{}, c.banned(b)
	}
	if d := n.Retired(c); d != nil {
		return Granted{}, d
	}
	switch r := n.InForce(); r.KeyNames {
	case WithToken:
		ok, err := n.opensKeyName(r.Tokens, c)
		if err != nil {
			return Granted{}, err
		}
		if !ok {
			return Granted{}, c.deny(DeniedToken, "this relay asks for a token, for the name made from a key too", "ask the relay's operator for one, and give it with --token-file")
		}
	case Closed:
		return Granted{}, c.deny(DeniedClosed, "this relay gives out no names made from keys", "ask for another name with --domain")
	}
	n.recent.add(c.Name)
	return n.granted(c, true, n.InForce().KeyNames == WithToken), nil
}

// opensKeyName reports whether the token of a claim is valid. It counts the use of one
// that has a number of them, once for each device, and binds it to the
// claimant where it is one that is bound to the first device that uses it.
func (n *Names) opensKeyName(list []Token, c *Claimant) (ok bool, err error) {
	var a admission
	find := func(l *ledger) (err error) {
		ok, a, err = anyToken(l, list, c)
		return err
	}
	err = n.view(find)
	if err != nil || !ok || a.token == nil || a.token.knows(c) {
		return ok, err
	}
	err = n.update(func(l *ledger) error {
		if err := find(l); err != nil || !ok || a.token == nil || a.token.knows(c) {
			return err
		}
		return a.useForKeyName(l, c)
	})
	return ok, err
}

// granted returns what the identity is told of a name that it has. Vouched says that
// a token of the operator's has opened it.
func (n *Names) granted(c *Claimant, isNew, vouched bool) Granted {
	return Granted{OrderIn: n.orderIn(c, isNew, vouched)}
}

// Release gives a name back that the identity holds: from then on it is kept from
// other identities for GraceTime, and the identity itself may claim it anew. The
// error is a *Denied when the name is not the identity's.
func (n *Names) Release(name string, key ed25519.PublicKey) error {
	d := &Denied{Name: name, Code: DeniedTaken, Text: "this device does not hold the name"}
	if _, alone := madeBy(name, n.zone); alone {
		d.Text = "a name made from a key is held without a grant: there is nothing to give back"
		return d
	}
	var own bool
	var gr *grant
	look := func(l *ledger) (err error) {
		gr, err = l.get(name)
		own = gr != nil && key.Equal(ed25519.PublicKey(gr.Key))
		return err
	}
	err := n.view(look) // who asks for nothing of his own holds up no one who writes
	if own && err == nil {
		err = n.update(func(l *ledger) error {
			if err := look(l); err != nil || !own {
				return err
			}
			return l.lapse(name, gr, l.Now().Add(GraceTime))
		})
	}
	switch {
	case err != nil:
		return err
	case !own:
		return d
	}
	n.changed(Change{What: "released", Name: name, Key: key, Reason: "by its device"})
	return nil
}

package names

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/keyname"
)

// A verdict is what is decided about a claim. With ask nothing is decided yet. With
// denial the claim is denied; with own the name is the identity's already; otherwise
// it is granted.
type verdict struct {
	own    bool
	denial *Denied

	// ask finds out what has to be known first, and puts it into the answers that
	// decide was given. It may take as long as others do.
	ask func(context.Context)

	write func(*ledger) error // writes down what is decided; nil where nothing is to be written
	token string              // the id of the token that opens the name; may be empty
	// vouched says that a token opens it, also one that has no id.
	vouched bool

	// The identity that loses the name by this, and what it is told; or nil.
	loser []byte
	lost  *Denied
}

// answers are what others have said about a claim: DNS, and the outside decision.
type answers struct {
	proof    bool     // DNS was asked
	holder   []byte   // the identity that had the domain then; nil is nobody
	evidence Evidence // what DNS said
	noProof  error    // why it said nothing; nil where it did
	asked    bool     // the outside decision was asked
	denied   error    // what it said; nil is yes
}

// decide is the one place where it is decided what an identity may claim: by the
// record, the bans, the rules in force, and what others have said. A denial is no
// error of the transaction.
func (n *Names) decide(l *ledger, c *Claimant, known *answers) (verdict, error) {
	if b, ok := n.Banned(c.Name, c.Key, c.Source); ok {
		return verdict{denial: c.banned(b)}, nil
	}
	if r, err := l.retired(c.Key); err != nil || r != nil {
		return verdict{denial: HandedOver(c.Name)}, err
	}
	if port, ok := n.PortOf(c.Name); ok {
		return n.decidePort(l, c, port, known)
	}
	if n.isStatic(c.Name) {
		return verdict{denial: c.deny(DeniedTaken, Served, "take another name")}, nil
	}
	if !hostname.IsBelow(c.Name, n.zone) {
		return n.decideDomain(l, c, known)
	}
	own, denial, err := n.standing(l, c)
	if err != nil || own || denial != nil {
		return verdict{own: own, denial: denial}, err
	}
	if looksMade(c.Name, n.zone, c.Key, c.Word) {
		return verdict{denial: c.deny(DeniedTaken, "a label in it is made from another device's key")}, nil
	}
	r := n.InForce()
	tok, err := findToken(l, r.Tokens, c)
	if err != nil {
		return verdict{}, err
	}
	if !tok.admits { // then nothing of it counts: not its limits, and no use of it
		tok = admission{wrong: tok.wrong}
	}
	other, err := l.below(c.Name, c.Key)
	switch {
	case errors.Is(err, errTooMany) && tok.exactly:
	case errors.Is(err, errTooMany):
		return verdict{denial: c.deny(DeniedUnavailable, err.Error())}, nil
	case err != nil:
		return verdict{}, err
	case other && !tok.exactly:
		return verdict{denial: c.deny(DeniedTaken, "a name below it belongs to another device")}, nil
	}
	if denial := n.admit(&r, c, &tok); denial != nil {
		return verdict{denial: denial}, nil
	}
	if denial, err := room(l, &r, c, &tok); err != nil || denial != nil {
		return verdict{denial: denial}, err
	}
	if v, wait := n.outside(c, known); wait {
		return v, nil
	}
	return verdict{token: tok.id, vouched: tok.admits, write: func(l *ledger) error {
		if err := tok.use(l, c); err != nil {
			return err
		}
		return l.put(c.Name, &grant{Key: c.Key, Since: l.Now(), Seen: l.Now(), Token: tok.id})
	}}, nil
}

// standing says what the record has of a name below the zone and of those above it:
// own that the name is the identity's already; else why it may not have it, or nil.
//
// A name is nobody's to claim when somebody else has a grant above or below it.
// Above, because who has a name has what is below it. Below, because who has the
// parent of a name is taken for its relay, can set its cookies, and would deny
// its holder all further names there. A token that names the name in full is the
// operator's word and beats what is below, not what is above: nothing else would
// ever free the name. Older versions have given out names above somebody else's
// without one. Such grants stand, both of them: each holder keeps what it has,
// and only gets nothing new where the other one is above or below.
//
// A name that has lapsed, or was released, is kept from others for a while.
func (n *Names) standing(l *ledger, c *Claimant) (own bool, denial *Denied, err error) {
	for at := c.Name; at != n.zone; _, at, _ = strings.Cut(at, ".") {
		gr, err := l.raw(at)
		switch {
		case err != nil:
			return false, nil, err
		case gr == nil:
		case bytes.Equal(gr.Key, c.Key):
			if at == c.Name && l.live(gr) {
				return true, nil, nil
			}
		case l.live(gr):
			return false, Taken(c.Name), nil
		case at == c.Name && !l.over(gr):
			return false, c.kept(l.keptUntil(gr)), nil
		}
	}
	return false, nil, nil
}

// kept is the denial of a name that was another identity's until lately.
func (c *Claimant) kept(until time.Time) *Denied {
	return c.deny(DeniedTaken, "another device had it until lately, and may still have a certificate for it: it is kept until "+until.Format(time.DateOnly),
		"take another name, or ask the relay's operator to free it: relay names release --free "+c.Name)
}

// admit says whether the policy gives out the name, which is free: nil, or why
// not.
func (n *Names) admit(r *Rules, c *Claimant, tok *admission) *Denied {
	const ask = "ask the relay's operator for a token, and give it with --token-file"
	switch {
	case r.Policy == Open || r.Policy == "":
	case r.Policy == WithToken && c.Token == "":
		return c.deny(DeniedToken, "this relay asks for a token", ask)
	case r.Policy == WithToken && !tok.admits:
		return c.deny(DeniedToken, tok.why(), ask)
	case r.Policy != WithToken:
		return c.deny(DeniedClosed, "this relay gives out no new names")
	}
	if !hostname.IsBelow(c.Name, n.zone) {
		return nil // names of others are not the operator's to reserve
	}
	if why := n.whyReserved(r, c.Name); why != "" && !tok.exactly {
		return c.deny(DeniedToken, why, "take another name, or ask the relay's operator for a token that has this very name")
	}
	return nil
}

// room says whether there is room for one more name: nil, or why not.
func room(l *ledger, r *Rules, c *Claimant, tok *admission) (*Denied, error) {
	most := r.namesAtMost()
	if tok.names > 0 {
		most = tok.names
	}
	held, err := l.heldOrKept(c.Key)
	if err == nil { // ports are counted by themselves
		err = l.eachPort(c.Key, func(string, *grant) { held-- })
	}
	if err != nil {
		return nil, err
	}
	if was, err := l.raw(c.Name); err != nil {
		return nil, err
	} else if was != nil && bytes.Equal(was.Key, c.Key) && !l.over(was) {
		held-- // its own, that has lapsed
	}
	if held >= most {
		return c.deny(DeniedLimit, fmt.Sprintf("a device may hold %d names here", most),
			"give one back that is not used: remote release NAME; it counts until it is kept from others no more"), nil
	}
	full, err := l.full()
	if err == nil && full {
		return c.deny(DeniedLimit, "this relay has given out all its names"), nil
	}
	return nil, err
}

// outside asks the outside decision, where there is one: wait reports that the
// claim is not to be granted, or not yet.
func (n *Names) outside(c *Claimant, known *answers) (v verdict, wait bool) {
	switch {
	case n.Ask == nil || n.InForce().NoQuestions:
		return v, false
	case !known.asked:
		return verdict{ask: func(ctx context.Context) {
			known.asked, known.denied = true, n.Ask(ctx, *c)
		}}, true
	case known.denied == nil:
		return v, false
	}
	var d *Denied
	if errors.As(known.denied, &d) {
		own := *d
		own.Name = c.Name
		return verdict{denial: &own}, true
	}
	return verdict{denial: c.deny(DeniedUnavailable, "the relay could not ask whether this name may be given out")}, true
}

// Look reports whether a visitor of name waits for it: it was given out to
// somebody, or is a label made from a key that was here lately, and no ban hits it or
// its identity. The error says
// why that cannot be told now. If it is that the record is closed, opened is
// closed when the record is open again; else opened is nil.
func (n *Names) Look(name string) (known bool, opened <-chan struct{}, err error) {
	if _, ok := n.bannedName(name); ok {
		return false, nil, nil
	}
	if label, alone := madeBy(name, n.zone); alone {
		_, banned := n.bannedLabel(label)
		return n.recent.has(name) && !banned, nil, nil
	}
	opened = n.Grants.Opened() // before it is asked, so that no opening is missed
	holder, err := n.holder(name)
	if !errors.Is(err, ErrClosed) {
		opened = nil
	}
	_, banned := n.bannedIdentity(holder)
	return holder != nil && !banned, opened, err
}

// holder returns the identity that name belongs to, or nil.
func (n *Names) holder(name string) (key []byte, err error) {
	err = n.view(func(l *ledger) error {
		gr, err := l.get(name)
		if gr != nil {
			key = gr.Key // a copy
		}
		return err
	})
	return key, err
}

// HolderOf returns a text that stands for the identity that the record gives name to,
// so that names of one identity count together. Owned is false where there is none,
// or that cannot be told now.
func (n *Names) HolderOf(name string) (holder string, owned bool) {
	if key, err := n.holder(name); err == nil && key != nil {
		return keyname.Label(key, ""), true
	}
	return "", false
}

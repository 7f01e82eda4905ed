package names

import (
	"bytes"
	"context"
	"slices"
	"time"

	"keystay/internal/keyname"
)

const (
	// proofAge is how old the proof of a domain may be when its identity claims it
	// again, before DNS is asked.
	proofAge = time.Hour
	// lostAfter is how long DNS may not name the identity any more before it loses
	// the domain.
	lostAfter = 3 * 24 * time.Hour
	// silentAfter is the same for a DNS that does not answer.
	silentAfter = 14 * 24 * time.Hour
	// proofRetry is when a device may ask again for a domain that DNS does not give
	// it.
	proofRetry = 30 * time.Second
)

// Evidence is what DNS says of a domain.
type Evidence struct {
	Labels        []string // the identities that it names, as labels made from their keys
	Via           string   // the kind of the record: "txt" or "cname"
	Authenticated bool     // the resolver has checked the signatures (RFC 4035, section 3.2.3)
}

// A Proof is what the record keeps of a domain's evidence.
type Proof struct {
	Checked       time.Time `json:"checked"`          // when DNS last named the identity
	Failing       time.Time `json:"failing,omitzero"` // since when it does not, or does not answer
	Via           string    `json:"via,omitempty"`
	Authenticated bool      `json:"ad,omitempty"`
}

// decideDomain decides about a name that is not below the zone. DNS gives it: what
// the policy says is said of who may use the relay.
func (n *Names) decideDomain(l *ledger, c *Claimant, known *answers) (verdict, error) {
	switch {
	case n.Prove == nil || c.Name == n.zone:
		return verdict{denial: c.deny(DeniedInvalid, "not a name below "+n.zone)}, nil
	case below(n.zone, c.Name):
		return verdict{denial: c.deny(DeniedInvalid, "the relay's own name is below this one")}, nil
	}
	gr, err := l.get(c.Name)
	if err != nil {
		return verdict{}, err
	}
	own := gr != nil && bytes.Equal(gr.Key, c.Key)
	if own && gr.Proof != nil && gr.Proof.Failing.IsZero() && l.Now().Sub(gr.Proof.Checked) < proofAge {
		return verdict{own: true}, nil
	}
	if known.evidence == nil && known.noProof == nil {
		return verdict{ask: func(ctx context.Context) {
			e, err := n.Prove(ctx, c.Name)
			known.evidence, known.noProof = &e, err
		}}, nil
	}
	if own {
		return n.proveAgain(l, c, gr, known), nil
	}
	return n.proveFirst(l, c, gr, known)
}

// proveAgain decides about a domain that is the identity's until now.
func (n *Names) proveAgain(l *ledger, c *Claimant, gr *grant, known *answers) verdict {
	now := *gr
	proof, lost := again(gr.Proof, known, keyname.Label(gr.Key, ""), l.Now())
	if lost != "" {
		d := c.unproven(lost)
		return verdict{denial: d, loser: gr.Key, lost: d, write: func(l *ledger) error { return l.drop(c.Name, gr) }}
	}
	now.Proof = &proof
	return verdict{own: true, write: func(l *ledger) error { return l.seen(c.Name, &now) }}
}

// again returns the proof of a domain after DNS was asked once more; lost says why
// its identity has lost it, if it has.
func again(old *Proof, known *answers, label string, now time.Time) (p Proof, lost string) {
	if old != nil {
		p = *old
	}
	if known.noProof == nil && slices.Contains(known.evidence.Labels, label) {
		return Proof{Checked: now, Via: known.evidence.Via, Authenticated: known.evidence.Authenticated}, ""
	}
	if p.Failing.IsZero() {
		p.Failing = now
	}
	since := p.Failing.Format(time.DateTime)
	switch {
	case known.noProof == nil && now.Sub(p.Failing) >= lostAfter:
		return p, "since " + since + " DNS does not name this device for it"
	case known.noProof != nil && now.Sub(p.Failing) >= silentAfter:
		return p, "since " + since + " DNS does not say whose it is: " + known.noProof.Error()
	}
	return p, ""
}

// proveFirst decides about a domain that is not the identity's yet.
func (n *Names) proveFirst(l *ledger, c *Claimant, gr *grant, known *answers) (verdict, error) {
	switch {
	case known.noProof != nil:
		d := c.unproven("DNS does not say whose it is: " + known.noProof.Error())
		return verdict{denial: d}, nil
	case !slices.Contains(known.evidence.Labels, keyname.Label(c.Key, "")):
		return verdict{denial: c.unproven("DNS does not name this device for it")}, nil
	case gr != nil && slices.Contains(known.evidence.Labels, keyname.Label(gr.Key, "")):
		return verdict{denial: c.deny(DeniedTaken, "DNS names another device, too, which has it", "take the other device's record out of DNS")}, nil
	}
	r := n.InForce()
	valid, tok, err := n.anyToken(l, r.Tokens, c)
	if err != nil {
		return verdict{}, err
	}
	tok.admits = tok.admits || valid
	if denial := n.admit(&r, c, &tok); denial != nil {
		return verdict{denial: denial}, nil
	}
	if denial, err := room(l, &r, c, &tok); err != nil || denial != nil {
		return verdict{denial: denial}, err
	}
	if v, wait := n.outside(c, known); wait {
		return v, nil
	}
	e := *known.evidence
	v := verdict{token: tok.id, write: func(l *ledger) error {
		if err := tok.use(l, c); err != nil {
			return err
		}
		return l.put(c.Name, &grant{Key: c.Key, Since: l.Now(), Seen: l.Now(), Token: tok.id,
			Proof: &Proof{Checked: l.Now(), Via: e.Via, Authenticated: e.Authenticated}})
	}}
	if gr != nil {
		v.loser = gr.Key
		v.lost = c.unproven("DNS names another device for it now")
	}
	return v, nil
}

// unproven is the denial of a domain that DNS does not give to the identity.
func (c *Claimant) unproven(text string) *Denied {
	d := c.deny(DeniedUnproven, text, "see which records to set: remote dns "+c.Name)
	d.Retry = proofRetry
	return d
}

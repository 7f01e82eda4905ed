package names

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"keystay/internal/domainproof"
	"keystay/internal/hostname"
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
	// heldProof is how long DNS may take to prove once more what an identity has: that
	// changes nothing for days, and a device may have many domains to claim.
	heldProof = 2 * time.Second
	// proofRetry is when a device may ask again for a domain that DNS does not give
	// it.
	proofRetry = 30 * time.Second
)

// Evidence is what DNS says of a domain: the devices that it names.
type Evidence []Mention

// A Mention is one device that DNS names for a domain.
type Mention struct {
	Label         string // made from its key
	Via           string // the kind of the record: "txt" or "cname"
	Authenticated bool   // the resolver has checked the signatures (RFC 4035, section 3.2.3)
}

// of returns what DNS says of the identity with a key.
func (e Evidence) of(key []byte) (m Mention, ok bool) {
	label := keyname.Label(key, "")
	i := slices.IndexFunc(e, func(m Mention) bool { return m.Label == label })
	if i < 0 {
		return m, false
	}
	return e[i], true
}

// A Proof is what the record keeps of a domain's evidence.
type Proof struct {
	Checked       time.Time `json:"checked"`          // when DNS last named the identity
	Failing       time.Time `json:"failing,omitzero"` // since when it answers and does not
	Silent        time.Time `json:"silent,omitzero"`  // since when it does not answer
	Via           string    `json:"via,omitempty"`
	Authenticated bool      `json:"ad,omitempty"`
}

// decideDomain decides about a name that is not below the zone. DNS gives it: what
// the policy says is said of who may use the relay. What the policy denies costs DNS
// no question.
func (n *Names) decideDomain(l *ledger, c *Claimant, known *answers) (verdict, error) {
	r := n.InForce()
	switch {
	case n.Prove == nil || r.NoDomains || c.Name == n.zone:
		return verdict{denial: c.deny(DeniedInvalid, "not a name below "+n.zone)}, nil
	case IsPort(c.Name): // of another relay
		return verdict{denial: c.deny(DeniedInvalid, "not a port of "+n.zone)}, nil
	case hostname.IsBelow(n.zone, c.Name):
		return verdict{denial: c.deny(DeniedInvalid, "the relay's own name is below this one")}, nil
	case !strings.Contains(c.Name, "."):
		return verdict{denial: c.deny(DeniedInvalid, "a name of one part belongs to nobody")}, nil
	}
	gr, err := l.get(c.Name)
	if err != nil {
		return verdict{}, err
	}
	var holder []byte
	if gr != nil {
		holder = gr.Key
	}
	if bytes.Equal(holder, c.Key) {
		if gr.Proof.fresh(l.Now()) {
			return verdict{own: true}, nil
		}
		if !known.ofDomain(holder) {
			return n.askDomain(c, known, holder), nil
		}
		return n.proveAgain(l, c, gr, known), nil
	}
	tok, denial, err := n.admitDomain(l, &r, c)
	switch {
	case err != nil || denial != nil:
		return verdict{denial: denial}, err
	case !known.ofDomain(holder):
		return n.askDomain(c, known, holder), nil
	}
	return n.proveFirst(c, gr, &tok, known), nil
}

// ofDomain reports whether DNS was asked while holder had the domain: what it said
// before somebody else got it may be older than what gave it to them.
func (a *answers) ofDomain(holder []byte) bool { return a.proof && bytes.Equal(a.holder, holder) }

// askDomain asks DNS.
func (n *Names) askDomain(c *Claimant, known *answers, holder []byte) verdict {
	return verdict{ask: func(ctx context.Context) {
		if bytes.Equal(holder, c.Key) {
			short, cancel := context.WithTimeout(ctx, heldProof)
			defer cancel()
			ctx = short
		}
		known.evidence, known.noProof = n.Prove(ctx, *c)
		known.proof, known.holder = true, holder
	}}
}

// admitDomain says whether the policy lets a device have one more domain, which any
// valid token admits.
func (n *Names) admitDomain(l *ledger, r *Rules, c *Claimant) (tok admission, denial *Denied, err error) {
	valid, tok, err := anyToken(l, r.Tokens, c)
	if err != nil {
		return tok, nil, err
	}
	tok.admits = tok.admits || valid
	if denial = n.admit(r, c, &tok); denial == nil {
		denial, err = room(l, r, c, &tok)
	}
	return tok, denial, err
}

// proveAgain decides about a domain that is the identity's until now.
func (n *Names) proveAgain(l *ledger, c *Claimant, gr *grant, known *answers) verdict {
	now := *gr
	proof, lost := proofNow(gr, known, l.Now())
	if lost != "" {
		d := n.unproven(c, lost)
		return verdict{denial: d, loser: gr.Key, lost: d, write: func(l *ledger) error { return l.drop(c.Name, gr) }}
	}
	now.Proof = &proof
	return verdict{own: true, write: func(l *ledger) error { return l.seen(c.Name, &now) }}
}

// proofNow returns the proof of a domain after DNS was asked once more. Lost is why
// its identity has lost it; empty where it keeps it.
func proofNow(gr *grant, known *answers, now time.Time) (p Proof, lost string) {
	if gr.Proof != nil {
		p = *gr.Proof
	}
	if m, ok := known.evidence.of(gr.Key); ok && known.noProof == nil {
		return Proof{Checked: now, Via: m.Via, Authenticated: m.Authenticated}, ""
	}
	since, limit, why := &p.Failing, lostAfter, "DNS does not name this device for it"
	switch {
	case errors.Is(known.noProof, ErrNotAsked):
		return p, ""
	case known.noProof != nil:
		since, limit, why = &p.Silent, silentAfter, "DNS does not say whose it is: "+known.noProof.Error()
	default:
		p.Silent = time.Time{}
	}
	if since.IsZero() {
		*since = now
	}
	if now.Sub(*since) >= limit {
		return p, "since " + since.UTC().Format("2006-01-02 15:04 MST") + " " + why
	}
	return p, ""
}

// fresh reports whether a proof is good enough for a claim without DNS.
func (p *Proof) fresh(now time.Time) bool {
	return p != nil && p.Failing.IsZero() && p.Silent.IsZero() && now.Sub(p.Checked) < proofAge
}

// proveFirst decides about a domain that is not the identity's yet. With both named
// the one that has it keeps it.
func (n *Names) proveFirst(c *Claimant, gr *grant, tok *admission, known *answers) verdict {
	m, named := known.evidence.of(c.Key)
	switch {
	case known.noProof != nil:
		return verdict{denial: n.unproven(c, "DNS does not say whose it is: "+known.noProof.Error())}
	case !named && len(known.evidence) > 0:
		return verdict{denial: n.unproven(c, "DNS names another device for it, and not this one")}
	case !named:
		return verdict{denial: n.unproven(c, "DNS does not say yet that it is this device's")}
	case gr != nil:
		if _, both := known.evidence.of(gr.Key); both {
			d := n.unproven(c, "DNS names another device, too, which has it")
			d.Hints = append([]string{"take the other device's record out of DNS"}, d.Hints...)
			return verdict{denial: d}
		}
	}
	if v, wait := n.outside(c, known); wait {
		return v
	}
	v := verdict{token: tok.id, write: func(l *ledger) error {
		if err := tok.use(l, c); err != nil {
			return err
		}
		return l.put(c.Name, &grant{Key: c.Key, Since: l.Now(), Seen: l.Now(), Token: tok.id,
			Proof: &Proof{Checked: l.Now(), Via: m.Via, Authenticated: m.Authenticated}})
	}}
	if gr != nil {
		v.loser = gr.Key
		v.lost = n.unproven(&Claimant{Name: c.Name, Key: gr.Key}, "DNS names another device for it now")
	}
	return v
}

// unproven is the denial of a domain that DNS does not give to the identity.
func (n *Names) unproven(c *Claimant, text string) *Denied {
	label := keyname.Label(c.Key, "")
	d := c.deny(DeniedUnproven, text,
		fmt.Sprintf("set this record: %s TXT %s", domainproof.Owner(c.Name), domainproof.Record(label)),
		fmt.Sprintf("or this one: %s CNAME %s", c.Name, domainproof.Target(label, n.zone)),
		"see what is there: remote dns "+c.Name+" --relay "+n.zone)
	d.Retry = proofRetry
	return d
}

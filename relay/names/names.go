package names

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotAsked is wrapped by an error of Names.Prove that says nothing of DNS: the
// relay has not asked it.
var ErrNotAsked = errors.New("DNS was not asked")

// A Policy says who may take a new name.
type Policy string

const (
	// Open gives a free name to whoever claims it first.
	Open Policy = "open"
	// WithToken gives a free name to whoever shows a token for it.
	WithToken Policy = "token"
	// Closed gives out no new names.
	Closed Policy = "closed"
)

// Rules are what an operator may change while the relay runs. The zero value gives
// every free name to whoever claims it first.
type Rules struct {
	Policy Policy  // empty means Open
	Tokens []Token // beside those that CreateToken has made

	// KeyNames is the policy for the name made from a device's own key; empty means
	// Open. WithToken asks for any token that is valid, at each claim.
	KeyNames Policy

	// Reserved are patterns of names that are given out only for a token that has
	// the very name, see hostname.Pattern. They come beside the built-in list.
	Reserved []string

	// Static are names that the operator serves itself: whole ones, or "*." and one for
	// all below that. They are given out to nobody, and those above and below them
	// count as Reserved.
	Static []string

	// ExpireUnused is how long a name is kept for an identity that is not seen; 0
	// is GrantTime.
	ExpireUnused time.Duration

	// NamesPerIdentity is how many names one identity may hold, without the one made
	// from its key; 0 is MaxNamesPerIdentity.
	NamesPerIdentity int

	// PortsPerIdentity is how many TCP ports one identity may hold, beside its names; 0
	// is MaxPortsPerIdentity.
	PortsPerIdentity int

	// NoDomains gives out no domains that are not below the zone, and lets nobody
	// claim again one that it has.
	NoDomains bool

	// NoQuestions lets new names be given out without Names.Ask.
	NoQuestions bool

	// CertificatesPerWeek is how many new names of the zone may have their first
	// certificate in 7 days; 0 is no limit. See Issuance.
	CertificatesPerWeek int
}

// Names decides which identity may use which name. Its fields are set before Begin
// and not changed afterwards; for the rules there is SetRules. A relay.Server that
// has it calls Begin, sets OnLost, sets Quota and Network where they are nil, and bounds
// Prove and Ask.
type Names struct {
	Rules        // until SetRules; see InForce
	Grants Store // what was given out; required
	Ports  Ports // that are given out; none where it is empty

	// Prove asks DNS which identities the domain of a claimant belongs to, which is
	// not below the zone; nil gives out no such domain. An error says that DNS did not
	// answer. A claimant without Source is one that is checked again.
	Prove func(ctx context.Context, c Claimant) (Evidence, error)

	// Ask asks an outside decision about a new name that the policy gives out; nil
	// asks nobody. It denies the name by a *Denied. Any other error denies it for
	// now.
	Ask func(ctx context.Context, c Claimant) error

	// Quota counts a new name of a claimant, and says whether it is one too many and
	// when to ask again; nil is no limit.
	Quota func(c Claimant) (again time.Duration, ok bool)

	// Network returns the network that an address counts for where networks share the
	// slots at the CA, see Issuance. An address for which it returns no valid network
	// has no part of its own, and no limit by that; so have all where it is nil.
	Network func(netip.Addr) netip.Prefix

	// OnChange hears what has become of a name, after it has; nil is nobody. It must
	// not block.
	OnChange func(Change)

	// OnLost hears of names that an identity must not use any more, and may be
	// connected for; nil is nobody.
	OnLost func(Lost)

	// OnBans hears of bans that were not there before, where other processes change the
	// record, too; they are in force already. Nil is nobody.
	OnBans func([]Ban)

	// OnMoved hears that another process has changed the grant of a name, and which
	// identity has it now, or nil; and without a name that any may have changed. Nil is
	// nobody.
	OnMoved func(name string, holder ed25519.PublicKey)

	// OnRetired hears that an identity has handed over in another process; and without
	// one that any may have. Nil is nobody.
	OnRetired func(ed25519.PublicKey)

	zone     string                   // set by Begin
	replaced atomic.Pointer[Rules]    // in the place of Rules, once SetRules was called
	recent   recent                   // labels made from keys
	bans     atomic.Pointer[banIndex] // of those that the record has
	reserved atomic.Pointer[[]string] // the patterns that the record has
	loading  sync.Mutex               // one reading of bans or of reserved at a time
	parts    parts                    // of the slots at the CA
	noPort   atomic.Int64             // until when no TCP port is free, in nanoseconds since 1970
}

// A Change is what has become of a name, for an audit log.
type Change struct {
	What   string // "granted", "released", "expired", "lost", "moved"; of an identity alone "retired"
	Name   string
	Key    []byte // of the identity
	Token  string // the id of the token that opened it; may be empty
	Reason string // may be empty
}

// A Lost tells of a name that an identity must not use any more.
type Lost struct {
	Key    []byte // of the identity
	Denied Denied // has the name, and what the identity is told
}

// Begin is called once, before anything else, with the name below which all
// names are.
func (n *Names) Begin(zone string) {
	n.zone = zone
	n.Grants.Begin(zone)
	n.recent.begin()
	n.Grants.Watch(func(t Table) {
		switch t {
		case tableBans:
			n.loadBans()
		case tableReserved:
			n.loadReserved()
		}
	})
	n.listenElsewhere()
	n.loadBans()
	n.loadReserved()
}

// SetRules replaces the rules, from the next claim on. What was given out stays.
func (n *Names) SetRules(r Rules) { n.replaced.Store(&r) }

// NamesAtMost is how many names one identity may hold, without the one made from its
// key, where no token says something else.
func (n *Names) NamesAtMost() int {
	r := n.InForce()
	return r.namesAtMost()
}

func (r *Rules) namesAtMost() int {
	if r.NamesPerIdentity > 0 {
		return r.NamesPerIdentity
	}
	return MaxNamesPerIdentity
}

// InForce returns the rules in force, which are not to be changed.
func (n *Names) InForce() Rules {
	if r := n.replaced.Load(); r != nil {
		return *r
	}
	return n.Rules
}

// view runs f in a transaction that reads, with the rules of now.
func (n *Names) view(f func(*ledger) error) error {
	expire := n.InForce().ExpireUnused
	return n.Grants.View(func(tx Tx) error { return f(&ledger{Tx: tx, expire: expire}) })
}

// update runs f in a transaction that writes, perhaps several times. An error
// undoes what f has changed.
func (n *Names) update(f func(*ledger) error) error {
	expire := n.InForce().ExpireUnused
	return n.Grants.Update(func(tx Tx) error { return f(&ledger{Tx: tx, expire: expire}) })
}

// changed tells OnChange.
func (n *Names) changed(c Change) {
	if n.OnChange != nil {
		n.OnChange(c)
	}
}

// lost tells OnLost.
func (n *Names) lost(key []byte, d *Denied) {
	if n.OnLost != nil {
		n.OnLost(Lost{key, *d})
	}
}

package relay

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/relay/names"
	"keystay/sni"
)

// A router answers one question: where does a name lead, now or after how long. It
// asks who is connected for the name, whether the old process has handed it over,
// and whose it is. Nobody else asks these one after the other.
type router struct {
	domain   string // the relay's own name
	presence *presence
	names    *names.Names
	nodes    Nodes // nil without others
	hops     *hops // likewise
	expected expected
	waiters  waiters
	unwanted atomic.Int64 // visitors that the rules of a name's device have refused
	front    *fronts      // the operator's own servers
	siblings *siblings    // relays of other owners
	holds    [holdOutcomes]atomic.Int64
	held     prometheus.Observer // of how long visitors have waited, in seconds

	ctx       context.Context            // of the server
	leaving   <-chan struct{}            // closed when the server leaves
	departure *atomic.Pointer[departure] // how it leaves; nil before
}

// A lead is where a name leads.
type lead struct {
	to      destination
	session *session                     // with toSession
	place   Place                        // with elsewhere
	rules   framing.Rules                // with toSession and toSibling: which visitors the name is for
	fixed   *fixed                       // with toFixed
	sibling *sibling                     // with toSibling
	key     ed25519.PublicKey            // with toSibling: of the device that has named it
	wait    *hold                        // with those that wait
	alert   sni.Alert                    // with nowhere: what the visitor is told
	why     whyRefused                   // with nowhere: for the operator
	pass    func(net.Conn, []byte) error // gives the visitor to the new process of this relay; nil without one
}

// A destination is the kind of a lead.
type destination int

const (
	nowhere   destination = iota
	unwanted              // to a remote that is connected, whose rules refuse the visitor
	toRelay               // to the relay itself
	toSession             // to a remote that is connected
	toFixed               // to a server of the operator's own
	elsewhere             // to another node, on which its remote is connected
	toSibling             // to a relay of another owner, which may have the remote

	// The visitor waits:
	handedOver // the old process has handed the name over, and its remote is about to dial
	away       // its remote is away
	untold     // whether it is anybody's name cannot be told now
)

// now returns where name leads at once, or how long to wait for it. Validation
// says that it is for a CA's validation of the name, and asked what of other nodes and
// siblings is not to be asked any more. An empty name is that of a visitor who asks for none.
func (r *router) now(name string, validation bool, a asked) lead {
	if name == r.domain {
		return lead{to: toRelay}
	}
	f := r.front.Load()
	if to := f.static(name); to != nil {
		return lead{to: toFixed, fixed: to}
	}
	if name == "" {
		return r.unknown(f, name)
	}
	if validation {
		if p, ok := r.turnElsewhere(a, name); ok {
			return lead{to: elsewhere, place: p}
		}
	}
	if sess, rules := r.presence.find(name, validation); sess != nil {
		if !a.late && len(r.siblings.now()) > 0 && sess.link.Quiet() > suspectAfter { // it may be dead
			if l, _, ok := r.siblings.lead(name, func() string { return keyname.Label(sess.key, "") }); ok {
				return l
			}
		}
		return lead{to: toSession, session: sess, rules: rules}
	}
	if p, ok := r.findElsewhere(a, name, validation); ok {
		return lead{to: elsewhere, place: p}
	}
	if until, ok := r.expected.until(name); ok {
		return lead{to: handedOver, wait: &hold{until: until, perName: maxExpectedPerName, total: maxExpected}}
	}
	known, opened, err := r.names.Look(name)
	l := lead{to: away}
	switch {
	case err != nil:
		l.to = untold
	case !known:
		return r.unknown(f, name)
	}
	l.wait = &hold{until: time.Now().Add(HoldTimeout), perName: maxHoldsPerName, total: maxHolds, opened: opened}
	if l.to == away && !a.late {
		to, again, ok := r.siblings.lead(name, func() string { holder, _ := r.names.HolderOf(name); return holder })
		if ok {
			return to
		}
		l.wait.ask = again
	}
	return l
}

// unknown returns where a name leads that is nobody's.
func (r *router) unknown(f *front, name string) lead {
	if to := f.other(name, r.domain); to != nil && !names.IsPort(name) {
		return lead{to: toFixed, fixed: to}
	}
	if name == "" {
		return lead{to: nowhere, alert: sni.AlertUnrecognizedName, why: refusedNoName}
	}
	return lead{to: nowhere, alert: sni.AlertUnrecognizedName, why: refusedUnknown}
}

// admits reports whether the rules of the session that l leads to let a visitor in,
// and counts those that they do not.
func (r *router) admits(l *lead, visitor netip.Addr) bool {
	ok := l.rules.Admit(visitor)
	if !ok {
		r.unwanted.Add(1)
	}
	return ok
}

// banned reports whether the operator has banned an address.
func (r *router) banned(a netip.Addr) bool {
	_, ok := r.names.BannedAddress(a)
	return ok
}

// find returns where visitor v goes. It has waited when that takes a wait: so the lead
// is to a session, to another node, to the relay, to a server of the operator's, to a
// sibling, or nowhere, or unwanted. In a server that leaves, or when the visitor does,
// nobody waits any more. Asking siblings counts for the time that one waits: they take
// theirs for an answer, and may be asked again by then.
func (r *router) find(v *visitor) lead {
	if v.taking != nil {
		return r.findTaken(v)
	}
	for {
		// The relay itself tells remotes from there why they are refused.
		if v.name != r.domain && r.banned(v.address()) {
			return lead{to: nowhere, alert: sni.AlertAccessDenied, why: refusedBanned}
		}
		v.asked.late = v.nameless || !v.until.IsZero() && !time.Now().Before(v.until)
		l := r.now(v.name, v.validation, v.asked)
		if l.to == toSibling && v.until.IsZero() {
			v.until = time.Now().Add(HoldTimeout)
		}
		if (l.to == toSession || l.to == toSibling) && !v.validation && !r.admits(&l, v.address()) {
			return lead{to: unwanted, alert: sni.AlertAccessDenied, why: refusedByRule}
		}
		if l.to < handedOver {
			return r.orPass(l)
		}
		if v.until.IsZero() || l.to == handedOver {
			v.until = l.wait.until
		}
		l.wait.until = v.until
		if !r.await(v, *l.wait) {
			return r.orPass(lead{to: nowhere, alert: sni.AlertInternalError, why: refusedAway})
		}
		v.takenBy = time.Time{} // what came up meanwhile has all of the time for it
	}
}

// orPass adds to a lead without a session that the new process of this relay takes
// the visitor, where there is one.
func (r *router) orPass(l lead) lead {
	if d := r.departure.Load(); d != nil && l.to != toSession && l.to != elsewhere {
		l.pass = d.pass
		if l.pass != nil && l.to == toSibling { // the new process may have the remote
			l.to, l.alert, l.why = nowhere, sni.AlertInternalError, refusedAway
		}
	}
	return l
}

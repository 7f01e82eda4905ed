package relay

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keystay/framing"
	"keystay/relay/limits"
	"keystay/sni"
)

// An opener opens a stream for a visitor at a session, or has another node, a sibling or
// the new process of this relay take it.
type opener struct {
	log         *slog.Logger
	router      *router
	bounds      *bounds
	shares      *shares
	descriptors *descriptors
	crossings   *crossings
	offers      *offers
	cuts        *atomic.Uint64      // see Server.cuts
	dial        prometheus.Observer // of how long it took to open a stream, in seconds
	kept        quota               // of lines about visitors that could not be passed on
}

// open opens a stream for v at a session of its name, or has another node take the
// visitor, and gives that to a. A session whose link has just been lost is passed over:
// the visitor has had no answer yet. Without either it returns where the visitor goes
// instead.
func (o *opener) open(a *admitted, v *visitor, first []byte) lead {
	for {
		cuts := o.cuts.Load()
		l := o.router.find(v)
		if l.to == elsewhere {
			far, again, l := o.hop(v, l.place, first)
			if again {
				continue
			}
			if far == nil {
				return o.router.orPass(l)
			}
			a.far, a.way, a.name, a.offered = far, hopsOut, v.name, v.offered
			return l
		}
		if l.to == toSibling {
			over, instead := o.crossings.pass(v, l, first)
			if over == nil && instead.to == toSibling {
				continue
			}
			if over == nil {
				return o.router.orPass(instead)
			}
			a.crossing, a.far, a.visit, a.name = over, over.conn, over.visit, v.name
			return l
		}
		if l.to != toSession {
			return l
		}
		stream, visit, why := o.enter(v, l.session, v.header(l.session), first, cuts)
		switch {
		case stream != nil:
			a.far, a.visit, a.name = stream, visit, v.name
			return l
		case why == refusedLimited:
			return lead{to: nowhere, alert: sni.AlertInternalError, why: why}
		case why != enterAgain:
			return o.router.orPass(lead{to: nowhere, alert: sni.AlertInternalError, why: why})
		}
	}
}

// enterAgain says that the router is to be asked anew.
const enterAgain = refusedReasons

// enter opens a stream for v at a session that the router has found when there had been
// so many cuts. Without a stream it returns why, or enterAgain.
func (o *opener) enter(v *visitor, sess *session, h framing.Header, first []byte, cuts uint64) (*framing.Stream, *limits.Visit, whyRefused) {
	visit, ok := o.admit(v, sess)
	if !ok {
		return nil, nil, refusedLimited
	}
	began := time.Now()
	if v.takenBy.IsZero() {
		v.takenBy = began.Add(v.takeTimeout())
	}
	stream, err := sess.open(v.conn, h, first, v.takenBy)
	if err == nil && o.cuts.Load() != cuts && !o.router.presence.has(sess, v.name) {
		stream.Reset() // what was cut meanwhile may not have had it yet
		visit.End()
		return nil, nil, enterAgain
	}
	if err == nil {
		o.dial.Observe(time.Since(began).Seconds())
		return stream, visit, enterAgain
	}
	visit.End()
	if errors.Is(err, framing.ErrNoMemory) {
		o.shares.outOfMemory()
	}
	sess.log().Debug("cannot open a stream", "err", err)
	if sess.link.Err() == nil && !errors.Is(err, framing.ErrGoingAway) { // it is this one stream
		return nil, nil, refusedNotTaken
	}
	o.router.presence.withdraw(sess) // which its own goAway may not have done yet
	return nil, nil, enterAgain
}

// admit counts a visitor of a name that sess serves. It reports false when the
// visitor is to be refused. When that is because the bytes of the month are used up,
// the remotes that serve the name lose it and are told why.
func (o *opener) admit(v *visitor, sess *session) (*limits.Visit, bool) {
	visit, why := o.bounds.owners.Begin(v.name, sess.key, v.validation)
	if why != limits.NameBytes && why != limits.IdentityBytes {
		return visit, why == limits.None
	}
	if denial := o.bounds.usedUp(v.name, sess.key); denial != nil {
		for _, served := range o.router.presence.forfeit(v.name, sess.key) {
			served.revoke(*denial)
		}
	}
	return nil, false
}

// header is what the remote of a session is told of the visitor.
func (v *visitor) header(to *session) framing.Header {
	if !v.port {
		return streamHeader(v.conn, v.name, framing.KindTLS)
	}
	h := streamHeader(v.conn, v.name, framing.KindTCP)
	h.As = to.called(v.name)
	return h
}

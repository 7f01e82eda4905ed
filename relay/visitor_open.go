package relay

import (
	"errors"
	"time"

	"keystay/framing"
	"keystay/relay/limits"
	"keystay/sni"
)

// open opens a stream for v at a session of its name, or has another node take the
// visitor, and gives that to a. A session whose link has just been lost is passed over:
// the visitor has had no answer yet. Without either it returns where the visitor goes
// instead.
func (s *Server) open(a *admitted, v *visitor, first []byte) lead {
	for {
		cuts := s.cuts.Load()
		l := s.router.find(v)
		if l.to == elsewhere {
			far, again, l := s.hop(v, l.place, first)
			if again {
				continue
			}
			if far == nil {
				return s.router.orPass(l)
			}
			a.far, a.way, a.name, a.offered = far, hopsOut, v.name, v.offered
			return l
		}
		if l.to == toSibling {
			over, instead := s.crossings.pass(v, l, first)
			if over == nil && instead.to == toSibling {
				continue
			}
			if over == nil {
				return s.router.orPass(instead)
			}
			a.crossing, a.far, a.visit, a.name = over, over.conn, over.visit, v.name
			return l
		}
		if l.to != toSession {
			return l
		}
		stream, visit, why := s.enter(v, l.session, v.header(l.session), first, cuts)
		switch {
		case stream != nil:
			a.far, a.visit, a.name = stream, visit, v.name
			return l
		case why == refusedLimited:
			return lead{to: nowhere, alert: sni.AlertInternalError, why: why}
		case why != enterAgain:
			return s.router.orPass(lead{to: nowhere, alert: sni.AlertInternalError, why: why})
		}
	}
}

// enterAgain says that the router is to be asked anew.
const enterAgain = refusedReasons

// enter opens a stream for v at a session that the router has found when there had been
// so many cuts. Without a stream it returns why, or enterAgain.
func (s *Server) enter(v *visitor, sess *session, h framing.Header, first []byte, cuts uint64) (*framing.Stream, *limits.Visit, whyRefused) {
	visit, ok := s.admitVisitor(v, sess)
	if !ok {
		return nil, nil, refusedLimited
	}
	began := time.Now()
	stream, err := sess.open(v.conn, h, first, began.Add(v.takeTimeout()))
	if err == nil && s.cuts.Load() != cuts && !s.presence.has(sess, v.name) {
		stream.Reset() // what was cut meanwhile may not have had it yet
		visit.End()
		return nil, nil, enterAgain
	}
	if err == nil {
		s.measures.dial.Observe(time.Since(began).Seconds())
		return stream, visit, enterAgain
	}
	visit.End()
	if errors.Is(err, framing.ErrNoMemory) {
		s.shares.outOfMemory()
	}
	sess.log().Debug("cannot open a stream", "err", err)
	if sess.link.Err() == nil && !errors.Is(err, framing.ErrGoingAway) { // it is this one stream
		return nil, nil, refusedNotTaken
	}
	s.presence.withdraw(sess) // which its own goAway may not have done yet
	return nil, nil, enterAgain
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

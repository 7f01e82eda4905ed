package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
)

var (
	// errDraining is why a session ends whose relay goes away in good order.
	errDraining = errors.New("the relay is going away")
	// errMoved is why a session ends whose relay has handed its address over
	// to another process: the next link leads there, and visitors wait for it.
	errMoved = errors.New("another process of the relay has taken over")
	// errNoName is why a device leaves a link.
	errNoName = errors.New("no name is served through this relay any more")
)

// A session is a link with the names that it has. One goroutine runs it.
type session struct {
	w       *way
	r       *reached
	has     map[*Listener]int   // whose names the link has, and which number their rules had when they were claimed
	denied  map[*Listener]error // whose names the relay does not give now, and why
	began   time.Time           // when the link had its first name
	claimed bool                // the names that were wanted at first have been claimed
	last    error               // why the link does not have the name that it was denied last
	ready   chan int            // how many names it has, once it has some; holds one
	bids    chan bid            // of sessions on other nodes
	over    chan struct{}       // closed when it takes no bid any more
}

func newSession(w *way, r *reached) *session {
	return &session{w: w, r: r, has: make(map[*Listener]int), denied: make(map[*Listener]error),
		ready: make(chan int, 1), bids: make(chan bid), over: make(chan struct{})}
}

// An outcome is how a session has ended.
type outcome struct {
	had  time.Duration // how long it had any name
	node string        // that its link was on, "" where that is not known
	err  error
	next <-chan outcome // of the session that has taken its place; nil where none has
}

// session links to the relay, claims the names, and serves until the link is
// lost, is going away, has no name left, or another one has taken its place.
func (w *way) session(lately string) outcome {
	dialing, dialed := w.d.alarm.context(w.ctx)
	r, err := w.connect(dialing, lately)
	dialed()
	if err != nil {
		return outcome{err: err, node: lately}
	}
	return newSession(w, r).run()
}

// run is session once the link is up.
func (s *session) run() (o outcome) {
	w, r, d := s.w, s.r, s.w.d
	defer close(s.over)
	defer r.endLost()
	defer r.berth.leave()
	if d.join(w, r.relay) || !d.addLink(w, r) {
		r.link.Close()
		return outcome{err: net.ErrClosed}
	}
	d.wg.Go(func() { d.acceptStreams(r.link, r.relay) })
	defer w.occupy(r.link.RemoteAddr())()
	defer w.attend(s)()
	o.next, o.err = s.serve()
	s.down(o.err)
	if !s.began.IsZero() {
		o.had = time.Since(s.began)
	}
	o.node = r.berth.where()
	var lost endedLinkError
	w.nodes.lasted(o.node, o.had, errors.As(o.err, &lost))
	return o
}

// serve has the names on the link until it ends, and says why, or which session has taken
// its place.
func (s *session) serve() (next <-chan outcome, err error) {
	d, link := s.w.d, s.r.link
	again := time.NewTimer(0)
	defer again.Stop()
	due := true // what was denied is to be asked for again
	var at time.Time
	for {
		s.settle(due)
		switch {
		case d.ctx.Err() != nil: // drain has the link, and visitors may be on it
			return nil, context.Cause(d.ctx)
		case link.Err() != nil:
			return nil, endedLinkError{link.Err()}
		case s.hasOldKey():
			d.wg.Go(func() {
				s.w.succeed(link, func() ed25519.PublicKey {
					return d.state.keys.forLink(s.r.relay, s.r.welcome.Minor).Public().(ed25519.PublicKey)
				})
			})
			return nil, errNewKey
		case s.w.ctx.Err() != nil:
			d.wg.Go(func() { d.goodbye(link, errNoName.Error()) })
			return nil, context.Cause(s.w.ctx)
		case len(s.has) == 0:
			if !s.began.IsZero() { // visitors of its names may be there, or on their way
				d.wg.Go(func() { s.w.leaveNameless(link) })
			} else {
				link.Close()
			}
			return nil, s.last
		}
		if next := time.Now().Add(s.w.later(s.r.relay, s.denied, s.has)); due || next.Before(at) {
			at = next
		}
		again.Reset(time.Until(at))
		due = false
		select {
		case <-again.C:
			due = true
		case <-s.r.news:
		case err := <-s.r.ends:
			if errors.Is(err, errMovedOn) {
				d.wg.Go(func() { s.w.moveOn(link) })
			} else {
				d.wg.Go(func() { s.w.leave(link) })
			}
			return nil, err
		case o := <-s.bids:
			took := o.names >= len(s.has)
			if o.taken <- took; took {
				d.wg.Go(func() { s.w.moveOn(link) })
				return o.next, errMovedOn
			}
		case <-link.Done():
		case <-s.w.ctx.Done():
		}
	}
}

// settle makes the link have the names that are wanted, and no others. With due it
// asks once more for those that were denied.
func (s *session) settle(due bool) {
	for _, d := range s.r.takeLost() {
		s.lose(d)
	}
	wanted := s.w.wanted()
	s.giveUp(wanted)
	var ask []*Listener
	for _, l := range wanted {
		_, denied := s.denied[l]
		number, has := s.has[l]
		if denied && due || !denied && (!has || number != l.rulesNumber()) {
			ask = append(ask, l)
		}
	}
	given := s.claimAll(ask)
	if len(given) == 0 {
		return
	}
	s.tellGiven(given)
	if !s.claimed {
		s.ready <- len(s.has)
	}
	s.claimed = true
	s.w.noteClaimed(s.r.link.Identity())
}

// giveUp takes off the link the names that are not wanted any more.
func (s *session) giveUp(wanted []*Listener) {
	for l := range s.denied {
		if !slices.Contains(wanted, l) {
			delete(s.denied, l)
			s.w.tellings.forget(l)
		}
	}
	for l := range s.has {
		if slices.Contains(wanted, l) {
			continue
		}
		// Another listener may want the same name, as after another Listen.
		if !slices.ContainsFunc(wanted, func(o *Listener) bool { return o.domain == l.domain }) {
			s.unclaim(l.domain)
		}
		delete(s.has, l)
		s.w.tellings.forget(l)
		s.linkDown(l, context.Cause(l.ctx))
	}
}

// unclaim tells the relay that a name is served here no more. One that is too old for
// that goes on sending visitors, who are refused.
func (s *session) unclaim(name string) {
	if s.w.ctx.Err() != nil { // it is told with GOAWAY
		return
	}
	ctx, cancel := context.WithTimeout(s.w.ctx, lateTimeout)
	defer cancel()
	_ = s.r.link.Unclaim(ctx, name)
}

// lose notes that the relay has taken a name back.
func (s *session) lose(why *framing.Denial) {
	for l := range s.has {
		if l.domain != why.Name {
			continue
		}
		delete(s.has, l)
		s.linkDown(l, why)
		s.deny(l, why)
	}
}

// deny notes that the relay does not give a name, now or for good.
func (s *session) deny(l *Listener, why error) {
	s.last = why
	if final(why) && !s.isOutdated(why) {
		delete(s.denied, l)
		s.w.d.refuse(s.w, l, why)
		return
	}
	s.denied[l] = why
	l.links.noteLoss(why)
}

// give notes that the link has a name, by a claim with rules of this number.
func (s *session) give(l *Listener, number int, claimed framing.Claimed) {
	delete(s.denied, l)
	_, again := s.has[l]
	s.has[l] = number
	if again {
		l.linkUp(s.r.link, claimed)
		return
	}
	first := s.w.give(s.r.relay, l)
	s.w.notePort(l, int(s.r.welcome.PublicPort))
	if s.began.IsZero() {
		s.began = time.Now()
		s.r.first = s.w.line.rise()
	}
	l.linkUp(s.r.link, claimed)
	if first {
		s.w.d.tell(Event{Kind: Connected, Name: l.domain, Relay: s.r.relay})
	}
}

// linkDown notes that the link does not have a name any more.
func (s *session) linkDown(l *Listener, why error) {
	l.links.remove(s.r.link)
	if s.w.take(l) {
		s.w.d.tell(Event{Kind: Disconnected, Name: l.domain, Relay: s.r.relay, Err: why})
	}
}

// down notes that the session has ended.
func (s *session) down(why error) {
	if !s.began.IsZero() {
		s.w.line.fall()
	}
	for l := range s.has {
		s.linkDown(l, why)
	}
	s.w.d.mu.Lock()
	defer s.w.d.mu.Unlock()
	s.w.tellLocked() // no link may have a name now that another one is denied
}

// A WithheldError says that a relay asks for a token, and that it was not given
// the one of Config.Token, since nobody has named that relay.
type WithheldError struct {
	Relay string
	Err   *framing.Denial
}

func (e *WithheldError) Error() string {
	return fmt.Sprintf("%v; the token was not sent to %s, which was found and not named", e.Err, e.Relay)
}

// Hints says what to do, in one line each.
func (e *WithheldError) Hints() []string { return hint.TokenWithheld.With("RELAY", e.Relay) }

// Unwrap returns the relay's answer.
func (e *WithheldError) Unwrap() error { return e.Err }

// An endedLinkError is how a link ended that had the name, in words.
type endedLinkError struct{ err error }

func (e endedLinkError) Error() string { return framing.Ending(e.err) }
func (e endedLinkError) Unwrap() error { return e.err }

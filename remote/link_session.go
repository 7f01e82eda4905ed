package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
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
)

// session links to the relay, claims the names, and serves until the link is
// lost, is going away, or loses a name. It returns how long it had them.
func (w *way) session() (had time.Duration, err error) {
	d := w.d
	dialing, dialed := d.alarm.context(w.ctx)
	r, err := w.connect(dialing)
	dialed()
	if err != nil {
		return 0, err
	}
	link := r.link
	if !d.addLink(link, r.welcome) {
		link.Close()
		return 0, net.ErrClosed
	}
	d.wg.Go(func() { d.acceptStreams(link) })
	defer w.occupy(link.RemoteAddr())()
	granted, denied, err := w.claimAll(link, r.relay)
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx) // drain has the link, and visitors may be on it
	}
	if err != nil {
		link.Close()
		return 0, err
	}
	began := time.Now()
	w.linkUp(r, granted)
	defer func() {
		w.linkDown(link, granted)
		had = time.Since(began)
	}()
	again := time.NewTimer(w.later(r.relay, denied))
	defer again.Stop()
	for {
		select {
		case <-again.C:
			granted = append(granted, w.claimLeft(r, denied)...)
			again.Reset(w.later(r.relay, denied))
		case err = <-r.ends:
			var denial *framing.Denial
			if errors.As(err, &denial) {
				link.Close()
			} else {
				d.wg.Go(func() { d.leave(link) })
			}
			return 0, err
		case <-link.Done():
			return 0, endedLinkError{link.Err()}
		case <-w.ctx.Done():
			if d.ctx.Err() == nil { // this relay alone refuses
				link.Close()
			}
			return 0, context.Cause(w.ctx)
		}
	}
}

// A grant is a listener whose name a relay has given, with what it said of it.
type grant struct {
	*Listener
	claimed framing.Claimed
}

// claimAll claims the names of all listeners and returns those whose name was
// granted, and why the others were not. It fails if none was; else the listeners
// whose name was denied are told why.
func (w *way) claimAll(link *framing.Link, relay string) (granted []grant, denied map[*Listener]error, last error) {
	denied = make(map[*Listener]error)
	for _, l := range w.d.allListeners() {
		claimed, err := w.claim(link, relay, l)
		if err != nil {
			denied[l], last = err, err
			continue
		}
		granted = append(granted, grant{l, claimed})
	}
	if len(granted) == 0 {
		return nil, nil, last
	}
	for l, why := range denied {
		l.noteLoss(why)
	}
	return granted, denied, nil
}

// claim claims the name of one listener.
func (w *way) claim(link *framing.Link, relay string, l *Listener) (framing.Claimed, error) {
	ctx, cancel := context.WithTimeout(w.ctx, dialTimeout)
	defer cancel()
	token, withheld := w.token(relay, l.domain)
	claimed, err := link.Claim(ctx, framing.Claim{Name: l.domain, Token: token, Replica: l.cfg.Replica, Certified: l.certified(), Rules: l.cfg.Rules})
	var denied *framing.Denial
	switch {
	case errors.Is(err, context.DeadlineExceeded) && w.ctx.Err() == nil:
		err = &NoRelayError{Relay: relay, Err: &noAnswerError{"the claim of " + l.domain, dialTimeout}}
	case errors.As(err, &denied) && denied.Code == framing.DeniedToken && withheld:
		err = &WithheldError{Relay: relay, Err: denied}
	case errors.As(err, &denied) && denied.Code == framing.DeniedUnavailable:
		err = hint.RelayUndecided.Error(err)
	case errors.As(err, &denied) && denied.Code == framing.DeniedLimit:
		err = hint.NoMoreNames.Error(err)
	}
	return claimed, err
}

// linkUp notes that a link has the names of the listeners.
func (w *way) linkUp(r *reached, granted []grant) {
	for _, g := range granted {
		w.settle(r.relay, g.Listener)
	}
	first := w.line.rise()
	for _, g := range granted {
		g.linkUp(r.link, g.claimed)
	}
	w.tellUp(first, r.link.RemoteAddr(), granted)
	w.tellOpen(r.welcome, granted)
}

// linkDown undoes linkUp.
func (w *way) linkDown(link *framing.Link, granted []grant) {
	w.line.fall()
	for _, g := range granted {
		g.linkDown(link)
	}
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

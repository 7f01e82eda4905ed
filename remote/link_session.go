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

// session links to the relay, claims the name, and serves until the link is
// lost, is going away, or loses the name. It returns how long it had the name.
func (w *way) session() (had time.Duration, err error) {
	l := w.l
	dialing, dialed := l.alarm.context(w.ctx)
	r, err := w.connect(dialing)
	dialed()
	if err != nil {
		return 0, err
	}
	link := r.link
	if !l.addLink(link, r.welcome) {
		link.Close()
		return 0, net.ErrClosed
	}
	l.wg.Go(func() { l.acceptStreams(link) })
	defer w.occupy(link.RemoteAddr())()
	ctx, cancel := context.WithTimeout(w.ctx, dialTimeout)
	token, withheld := w.token(r.relay)
	err = link.Claim(ctx, framing.Claim{Name: l.domain, Token: token, Replica: l.cfg.Replica})
	cancel()
	if errors.Is(err, context.DeadlineExceeded) && w.ctx.Err() == nil {
		err = &NoRelayError{Relay: r.relay, Err: &noAnswerError{"the claim of " + l.domain, dialTimeout}}
	}
	var denied *framing.Denial
	if errors.As(err, &denied) && denied.Code == framing.DeniedToken && withheld {
		err = &WithheldError{Relay: r.relay, Err: denied}
	}
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx) // drain has the link, and visitors may be on it
	}
	if err != nil {
		link.Close()
		return 0, err
	}
	w.settle(r.relay)
	began := time.Now()
	first := w.line.rise()
	l.linkUp(link)
	w.tellUp(first, link.RemoteAddr())
	defer func() {
		w.line.fall()
		l.linkDown(link)
		had = time.Since(began)
	}()
	select {
	case err = <-r.ends:
		var d *framing.Denial
		if errors.As(err, &d) {
			link.Close()
		}
		return 0, err
	case <-link.Done():
		return 0, endedLinkError{link.Err()}
	case <-w.ctx.Done():
		if l.ctx.Err() == nil { // this relay alone refuses
			link.Close()
		}
		return 0, context.Cause(w.ctx)
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

// addLink notes the link for drain, unless the listener has stopped.
func (l *Listener) addLink(link *framing.Link, w framing.Welcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.links[link] = struct{}{}
	l.arriving.Add(1) // until acceptStreams ends
	l.port = int(w.PublicPort)
	return true
}

// linkUp notes that a link has the name.
func (l *Listener) linkUp(link *framing.Link) {
	l.mu.Lock()
	first := len(l.serving) == 0
	l.serving[link] = struct{}{}
	if first {
		close(l.up)
		l.noLink = nil
	}
	ordering := l.ordering
	l.mu.Unlock()
	if ordering { // it began before this link came up
		go func() { _, _ = link.Order(l.ctx, l.domain) }() // nothing depends on it
	}
	if first && l.keeper != nil {
		l.keeper.Kick() // a renewal may have come due while there was no session
	}
}

// linkDown notes that a link does not have the name any more.
func (l *Listener) linkDown(link *framing.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.serving, link)
	if len(l.serving) == 0 {
		l.up = make(chan struct{})
	}
}

// noteLoss keeps why there is no session, for Wait.
func (l *Listener) noteLoss(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noLink = err
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"keystay/framing"
	"keystay/relay/names"
)

const (
	// maxPortTries is how many ports one claim tries, where another program of the
	// machine, or another claim, turns out to have one.
	maxPortTries = 8
	// portRetry is when a remote may ask again whose port cannot be listened on now.
	portRetry = 5 * time.Second
)

// claimPort decides about the claim of a public TCP port, which the remote asks for by
// the name of c: it chooses one, listens on it, and makes it lead here.
func (sess *session) claimPort(ctx context.Context, c framing.Claim, asked uint16) (framing.Claimed, error) {
	if len(c.Handovers) > 0 { // first, since they may bring the port
		name := names.PortName(sess.srv.Domain, asked)
		if err := sess.succeed(ctx, c, names.Claimant{Name: name, Key: sess.key, Source: sess.source()}); err != nil {
			return framing.Claimed{}, sess.denied(err)
		}
		c.Handovers = nil
	}
	var err error
	for again, i := true, 0; again && i < maxPortTries; i++ {
		var got framing.Claimed
		if got, again, err = sess.tryPort(ctx, c, asked); err == nil {
			return got, nil
		}
	}
	return framing.Claimed{}, sess.denied(err)
}

// tryPort is one try of claimPort. Again says that another port may be had.
func (sess *session) tryPort(ctx context.Context, c framing.Claim, asked uint16) (got framing.Claimed, again bool, err error) {
	s := sess.srv
	asks := names.Claimant{Key: sess.key, Token: c.Token, Source: sess.source(), Port: asked}
	if sess.tried.spent(c.Token) {
		asks.Token = ""
	}
	var name string
	var own bool
	err = names.Sure(ctx, s.Names, func() (err error) {
		name, own, err = s.Names.ChoosePort(asks, func(name string) bool {
			return s.ports.isUnfit(name) || s.presence.isCalledOther(name, c.Name)
		})
		return err
	})
	if err != nil {
		return got, false, sess.guessed(c.Token, &asks, err)
	}
	number, _ := s.Names.PortOf(name)
	done, err := s.ports.begin(name, number)
	if err != nil {
		if left, ok := s.ports.unlistened.take(1, undecidedAgain); ok {
			s.log.Warn("cannot listen on a TCP port that a remote is to have", "port", number, "err", err, left)
		}
		text := fmt.Sprintf("the relay cannot listen on port %d now: another program there may have it", number)
		full := errors.Is(err, errManyPorts)
		if full {
			text = "the relay cannot listen on more ports now"
		}
		return got, !own && !full, &framing.Denial{Name: name, Code: framing.DeniedUnavailable, Retry: portRetry, Text: text}
	}
	defer done()
	s.presence.call(sess, name, c.Name)
	c.Name = name
	granted, err := sess.decide(ctx, c, asked)
	if err != nil {
		s.presence.uncall(sess, name)
		var d *framing.Denial
		return got, !own && errors.As(err, &d) && d.Code == framing.DeniedTaken, err
	}
	return framing.Claimed{OrderIn: granted.OrderIn, Port: number}, false, nil
}

// call notes what the remote of a session calls a port.
func (p *presence) call(s *session, name, as string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, a := range s.calls {
		if a == as {
			delete(s.calls, n)
		}
	}
	if s.calls == nil {
		s.calls = make(map[string]string)
	}
	s.calls[name] = as
}

// uncall undoes call for a port that the session has not got.
func (p *presence) uncall(s *session, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(s.names, name) {
		delete(s.calls, name)
	}
}

// isCalledOther reports whether a remote that is here for a port calls it something
// else than as: then it has asked for it by another number.
func (p *presence) isCalledOther(name, as string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := p.names[name]
	if h == nil {
		return false
	}
	for _, s := range h.sessions {
		if a := s.calls[name]; a != "" && a != as {
			return true
		}
	}
	return false
}

// called returns what the remote calls a name: of a port, the name by which it was
// claimed.
func (sess *session) called(name string) string {
	p := &sess.srv.presence
	p.mu.RLock()
	defer p.mu.RUnlock()
	if as := sess.calls[name]; as != "" {
		return as
	}
	return name
}

// meant is the reverse of called.
func (sess *session) meant(as string) string {
	p := &sess.srv.presence
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, a := range sess.calls {
		if a == as {
			return name
		}
	}
	return as
}

// revoke tells the remote that it has lost a name.
func (sess *session) revoke(why framing.Denial) {
	why.Name = sess.called(why.Name)
	sess.link.Revoke(why)
}

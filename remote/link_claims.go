package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/hostname"
)

// claimsAtOnce is how many claims of a link are on their way at once.
const claimsAtOnce = framing.MaxAsked - 1

// A decision is a relay's answer to a claim.
type decision struct {
	l       *Listener
	number  int // of the rules that were claimed
	claimed framing.Claimed
	err     error
}

// errOverdue is why claims are given up: the relay has answered none for dialTimeout.
var errOverdue = errors.New("the relay answers no claim")

// claimAll claims names, and returns those that the link has now, and that it did not
// have before or was denied. A relay answers claims one after the other. So those go
// last that may take it seconds, and none is given up as long as it answers others.
func (s *session) claimAll(list []*Listener) (given []*Listener) {
	var quick, slow []*Listener
	for _, l := range list {
		if s.w.isSlow(s.r.relay, l) {
			slow = append(slow, l)
		} else {
			quick = append(quick, l)
		}
	}
	return append(s.claimBatch(quick), s.claimBatch(slow)...)
}

// isSlow reports whether the answer to the claim of a name may take a relay long: it
// has to ask DNS for one that is not below its own, and may have to for one that it
// did not give lately.
func (w *way) isSlow(relay string, l *Listener) bool {
	host, _ := splitRelay(relay)
	return w.tellings.isDenied(l) || !l.isPort() && !hostname.IsBelow(l.domain, host)
}

// claimBatch claims names, many at once. Each answers as soon as it is granted and the next
// start knows of it: where a relay takes long about one, the others wait for nothing.
func (s *session) claimBatch(list []*Listener) (given []*Listener) {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(s.w.ctx)
	defer cancel(nil)
	overdue := time.AfterFunc(dialTimeout, func() { cancel(errOverdue) })
	defer overdue.Stop()
	next, answers := make(chan *Listener), make(chan decision, len(list)) // claims do not wait for the disk, either
	var wg sync.WaitGroup
	for range min(len(list), claimsAtOnce) {
		wg.Go(func() {
			for l := range next {
				number, rules := l.currentRules()
				claimed, err := s.w.claim(ctx, s.r, l, rules)
				answers <- decision{l, number, claimed, err}
			}
		})
	}
	go func() {
		for _, l := range list {
			next <- l
		}
		close(next)
	}()
	for left := len(list); left > 0; {
		some := takeSome(answers)
		left -= len(some)
		overdue.Stop() // the relay does not wait for this device's disk
		s.w.remember(s.r.relay, some)
		overdue.Reset(dialTimeout)
		for _, a := range some {
			if s.hear(a) {
				given = append(given, a.l)
			}
		}
	}
	wg.Wait()
	return given
}

// takeSome waits for an answer, and takes with it those that have come meanwhile, up to as many
// as are remembered at once.
func takeSome(answers <-chan decision) []decision {
	some := []decision{<-answers}
	for len(some) < writesAtOnce {
		select {
		case a := <-answers:
			some = append(some, a)
		default:
			return some
		}
	}
	return some
}

// hear takes an answer up, and reports whether it gives a name that the link did not have, or
// was denied with other rules.
func (s *session) hear(a decision) (given bool) {
	_, has := s.has[a.l]
	_, denied := s.denied[a.l]
	switch {
	case a.err == nil:
		s.give(a.l, a.number, a.claimed)
		return !has || denied
	case s.w.ctx.Err() != nil || s.r.link.Err() != nil: // which is why
		s.last = a.err
	default:
		if has {
			s.has[a.l] = a.number // the rules that it has are those from before
		}
		s.deny(a.l, a.err)
	}
	return false
}

// claim claims the name of one listener. Ctx ends with the cause errOverdue where the
// relay does not answer.
func (w *way) claim(ctx context.Context, r *reached, l *Listener, rules framing.Rules) (framing.Claimed, error) {
	relay := r.relay
	token, withheld := w.token(relay, l)
	claimed, shown, err := w.claimShowing(ctx, r, framing.Claim{Name: l.domain, Word: l.how.Word, Token: token, Replica: w.d.cfg.Replica,
		Certified: l.certified(), Rules: rules, Siblings: w.siblings(l)})
	if host, _ := splitRelay(relay); !hostname.IsBelow(l.domain, host) {
		claimed.OrderIn = 0 // see framing.Claimed: it is for names of the relay's zone
	}
	var denied *framing.Denial
	switch {
	case errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errOverdue):
		err = &NoRelayError{Relay: relay, Err: &noAnswerError{"the claim of " + l.domain, dialTimeout}}
	case errors.As(err, &denied) && denied.Code == framing.DeniedToken && withheld:
		err = &WithheldError{Relay: relay, Err: denied}
	case errors.As(err, &denied) && denied.Code == framing.DeniedUnavailable:
		err = hint.RelayUndecided.Error(err)
	case errors.As(err, &denied) && denied.Code == framing.DeniedLimit && shown:
		err = hint.HandoverWaits.After(err)
	case errors.As(err, &denied) && l.isPort() && denied.Code == framing.DeniedLimit:
		err = hint.NoMorePorts.After(err)
	case errors.As(err, &denied) && denied.Code == framing.DeniedLimit:
		err = hint.NoMoreNames.Error(err)
	}
	return claimed, err
}

// claimShowing claims a name with the hand-overs that the relay has not heard of. Where the
// name is another identity's, that may be an earlier one of this device, which got it after
// its hand-over was written: then it claims once more, with all that there are. That a relay
// has no room for them says nothing of the name where nobody has to tell it of them, and it
// has not given the name before. Shown reports whether the answer is to a claim with any.
func (w *way) claimShowing(ctx context.Context, r *reached, c framing.Claim) (claimed framing.Claimed, shown bool, err error) {
	keys, minor, identity := &w.d.state.keys, r.welcome.Minor, r.link.Identity()
	c.Handovers = keys.handovers(r.relay, minor, identity)
	claimed, err = r.link.Claim(ctx, c)
	var denied *framing.Denial
	if errors.As(err, &denied) && denied.Code == framing.DeniedTaken {
		if all := keys.every(minor, identity); len(all) > len(c.Handovers) {
			waited := len(c.Handovers) > 0
			c.Handovers = all
			again, why := r.link.Claim(ctx, c)
			var full *framing.Denial
			if !waited && errors.As(why, &full) && full.Code == framing.DeniedLimit && !hasGiven(w.d.state, c.Name, r.relay) {
				return claimed, false, err
			}
			claimed, err = again, why
		}
	}
	if shown = len(c.Handovers) > 0; shown && err == nil {
		w.d.noteHeard(r.relay, minor, identity)
	}
	return claimed, shown, err
}

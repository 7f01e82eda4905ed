package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"keystay/framing"
)

const (
	// DefaultLinks is how many links a remote keeps to a relay.
	DefaultLinks = 2
	// firstPause is the longest wait before the second attempt to reach the
	// relay; each further one is twice as long, up to maxPause. The real wait
	// is a random part of it, so that a relay that was restarted is not
	// trampled.
	firstPause = 500 * time.Millisecond
	maxPause   = 15 * time.Second
	// steady is how long a session must last to count as a success.
	steady = 30 * time.Second
)

// A way is a relay that serves the name, with the links to it.
type way struct {
	l          *Listener
	candidates []string // the relay, or where it may be, in the order to try
	addresses  []string // to dial instead of the relay's own; may be empty

	mu    sync.Mutex
	relay string         // the candidate that answered, "" until then
	found chan struct{}  // closed when relay is known
	in    map[string]int // links by the address they lead to
	lanes laneHealth
	ctx   context.Context // ends with the listener, or when this relay refuses for good
	end   context.CancelFunc
}

// run keeps the links to the relay until the listener ends or the relay refuses
// the name for good, and returns why.
func (w *way) run(links int) error {
	w.ctx, w.end = context.WithCancel(w.l.ctx)
	defer w.end()
	refused := make(chan error, links)
	var wg sync.WaitGroup
	for i := range links {
		wg.Go(func() {
			if i > 0 { // the first one finds the relay
				select {
				case <-w.found:
				case <-w.ctx.Done():
					return
				}
			}
			if err := w.keepLink(); err != nil {
				refused <- err
				w.end()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-refused:
		return err
	default:
		return context.Cause(w.l.ctx)
	}
}

// keepLink keeps one link with a session until the way ends. Its error is what
// will not pass.
func (w *way) keepLink() error {
	pause, seen := firstPause, 0
	var moved time.Time // when the relay last said that it had moved
	for w.ctx.Err() == nil {
		began := time.Now()
		err := w.session()
		if w.ctx.Err() != nil {
			return nil
		}
		if final(err) {
			w.l.log.Error("the relay will not serve this name", "name", w.l.domain, "relay", w.name(), "err", err)
			return err
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		if errors.Is(err, errMoved) {
			pause = firstPause
			if time.Since(moved) > firstPause {
				moved = time.Now()
				w.l.log.Info("dialling again at once", "reason", err)
				continue
			}
		}
		wait := time.Duration(rand.Int64N(int64(pause)) + 1)
		what := "lost a link to the relay; trying again"
		if w.l.noteLoss(err) {
			what = "no session with the relay; trying again"
		}
		w.l.log.Warn(what, "relay", w.name(), "err", err, "in", wait.Round(time.Millisecond))
		pause = min(2*pause, maxPause)
		if w.l.rousal.pause(w.ctx, wait, &seen) {
			pause = firstPause
		}
	}
	return nil
}

// name is the relay for people.
func (w *way) name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.relay != "" {
		return w.relay
	}
	return w.candidates[0]
}

// final reports whether trying again is of no use.
func final(err error) bool {
	var refusal *framing.Refusal
	var denial *framing.Denial
	return errors.As(err, &refusal) && refusal.Permanent() || errors.As(err, &denial) && denial.Permanent()
}

var (
	// errDraining is why a session ends whose relay goes away in good order.
	errDraining = errors.New("the relay is going away")
	// errMoved is why a session ends whose relay has handed its address over
	// to another process: the next link leads there, and visitors wait for it.
	errMoved = errors.New("another process of the relay has taken over")
)

// session links to the relay, claims the name, and serves until the link is
// lost, is going away, or loses the name.
func (w *way) session() error {
	l := w.l
	over := make(chan error, 1)
	report := func(err error) {
		select {
		case over <- err:
		default:
		}
	}
	dialing, dialed := l.rousal.context(w.ctx)
	link, welcome, relay, err := w.connect(dialing, framing.Handler{
		Lost: func(d *framing.Denial) { report(d) },
		GoAway: func(g framing.GoAway) {
			if g.Code == framing.GoAwayTakeover {
				report(errMoved)
			}
			report(errDraining) // heard only if it is the first
		},
	})
	dialed()
	if err != nil {
		return err
	}
	if !l.keep(link, welcome) {
		link.Close()
		return net.ErrClosed
	}
	l.wg.Go(func() { l.serve(link) })
	defer w.leads(link.RemoteAddr())()
	ctx, cancel := context.WithTimeout(w.ctx, dialTimeout)
	err = link.Claim(ctx, framing.Claim{Name: l.domain, Token: l.cfg.Token, Replica: l.cfg.Replica})
	cancel()
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx) // drain has the link, and visitors may be on it
	}
	if err != nil {
		link.Close()
		return err
	}
	w.settle(relay)
	what := "another link is up"
	if l.holds(link) {
		what = "session is up"
	}
	l.log.Info(what, "relay", relay, "address", link.RemoteAddr(), "name", l.domain)
	defer l.lets(link)
	select {
	case err = <-over:
		var d *framing.Denial
		if errors.As(err, &d) {
			link.Close()
		}
		return err
	case <-link.Done():
		return link.Err()
	case <-w.ctx.Done():
		if l.ctx.Err() == nil { // this relay alone refuses
			link.Close()
		}
		return context.Cause(w.ctx)
	}
}

// settle makes relay the one that all links of the way go to.
func (w *way) settle(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.relay != "" {
		return
	}
	w.relay = relay
	close(w.found)
	if err := w.l.state.rememberRelay(relay); err != nil {
		w.l.log.Warn("cannot remember the relay", "err", err)
	}
}

// leads notes where a link leads to until the returned function is called.
func (w *way) leads(to net.Addr) (no func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.in == nil {
		w.in = make(map[string]int)
	}
	at := to.String()
	w.in[at]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.in[at]--; w.in[at] == 0 {
			delete(w.in, at)
		}
	}
}

// keep notes the link for drain, unless the listener has stopped.
func (l *Listener) keep(link *framing.Link, w framing.Welcome) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.links[link] = struct{}{}
	l.arriving.Add(1) // until serve ends
	l.port = int(w.PublicPort)
	return true
}

// holds notes that a link holds the name, and reports whether it is the first.
func (l *Listener) holds(link *framing.Link) (first bool) {
	l.mu.Lock()
	first = len(l.holding) == 0
	l.holding[link] = struct{}{}
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
	return first
}

// lets notes that a link does not hold the name any more.
func (l *Listener) lets(link *framing.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.holding, link)
	if len(l.holding) == 0 {
		l.up = make(chan struct{})
	}
}

// noteLoss keeps why there is no session, for Wait, and reports whether there
// is none.
func (l *Listener) noteLoss(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noLink = err
	return len(l.holding) == 0
}

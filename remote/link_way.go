package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"keystay/framing"
)

// DefaultLinks is how many links a remote keeps to a relay.
const DefaultLinks = 2

// laterPause is the longest wait of a further link after the first one is back.
const laterPause = 3 * time.Second

// A way is a relay that serves the name, with the links to it.
type way struct {
	l          *Listener
	candidates []string // the relay, or where it may be, in the order to try
	named      bool     // by the owner, now or when this relay gave the name before
	addresses  []string // to dial instead of the relay's own; may be empty
	line       line
	outage     outage // while no link is up
	health     laneHealth
	ctx        context.Context // ends with the listener, or when this relay refuses for good
	end        context.CancelFunc

	mu    sync.Mutex
	relay string         // the candidate that answered, "" until then
	found bool           // and has given the name: no other is tried any more
	in    map[string]int // links by the address they lead to
}

// run keeps the links to the relay until the listener ends or the relay refuses
// the name for good, and returns why.
func (w *way) run(links int) error {
	w.ctx, w.end = context.WithCancel(w.l.ctx)
	defer w.end()
	refused := make(chan error, links)
	var wg sync.WaitGroup
	for range links {
		wg.Go(func() {
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
	k := linker{way: w}
	for k.enter() {
		lasted, err := w.session()
		if w.ctx.Err() != nil {
			return nil
		}
		if final(err) {
			w.l.log.Error("the relay will not serve this name", "name", w.l.domain, "relay", w.name(), "err", err)
			return err
		}
		k.pause(lasted, err)
	}
	return nil
}

// A linker is what is known of one of the links of a way between two sessions.
type linker struct {
	way    *way
	retry  retry
	outage outage    // while another link is up
	seen   int       // rousals
	leads  bool      // it was let go as the first, and has not been up since
	had    bool      // it has been up
	moved  time.Time // when the relay last said that it had moved
}

// enter waits until the link may be dialled. It reports false when the way has
// ended.
func (k *linker) enter() bool {
	w := k.way
	for !k.leads {
		var waited bool
		k.leads, waited = w.line.enter(w.ctx)
		if k.leads || !waited || !k.had || w.ctx.Err() != nil {
			break
		}
		w.l.rousal.pause(w.ctx, rand.N(laterPause), &k.seen)
	}
	return w.ctx.Err() == nil
}

// pause notes how a session has ended, or that there was none, and waits for as
// long as the relay is to be left alone.
func (k *linker) pause(lasted time.Duration, err error) {
	w := k.way
	w.l.noteLoss(err)
	lost := lasted > 0
	if lost {
		k.leads, k.had = false, true
		k.outage.ends()
	}
	if lasted > steady {
		k.retry = retry{}
	}
	if errors.Is(err, errMoved) {
		k.retry = retry{}
		if time.Since(k.moved) > firstPause {
			k.moved = time.Now()
			if empty, _ := w.line.empty(); empty { // the last one speaks for all
				w.l.log.Info("dialling again at once", "reason", err)
			}
			return
		}
	}
	wait := k.retry.wait(lost || cheap(err))
	empty, times := w.line.empty()
	if empty {
		w.failure(w.outage.tells(err, lost), "no session with the relay; trying again", err, wait)
	}
	if w.l.rousal.pause(w.ctx, wait, &k.seen) {
		k.retry = retry{}
	}
	// If the others were lost meanwhile, that is all that is worth telling.
	if _, now := w.line.empty(); !empty && now == times {
		w.failure(k.outage.tells(err, lost), "lost a link to the relay, another one serves; trying again", err, wait)
	}
}

// name is the relay for people.
func (w *way) name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.relay != "" {
		return w.relay
	}
	return strings.Join(w.candidates, " or ")
}

// answered notes that a candidate has answered as a relay.
func (w *way) answered(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.relay = relay
}

// settle makes the candidate that has answered the one that all links of the
// way go to.
func (w *way) settle(relay string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.found {
		return
	}
	w.relay, w.found = relay, true
	relays := []string{relay}
	if w.named {
		relays = nil
		for _, other := range w.l.ways {
			relays = append(relays, other.candidates...)
		}
	}
	how := served{Relays: relays, Named: w.named, Made: w.l.made, Service: w.l.cfg.Service}
	if err := w.l.state.remember(w.l.domain, how); err != nil {
		w.l.log.Warn("cannot remember how the name is served", "err", err)
	}
}

// token is what a relay is told with a claim: nothing, unless the owner named
// this relay or nobody else can answer for it.
func (w *way) token(relay string) (token string, withheld bool) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if w.named || owns(relay, w.l.domain) {
		return w.l.token, false
	}
	return "", w.l.token != ""
}

// SetToken takes the place of Config.Token from the next claim on.
func (l *Listener) SetToken(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = token
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

// final reports whether trying again is of no use.
func final(err error) bool {
	var refusal *framing.Refusal
	var denial *framing.Denial
	return errors.As(err, &refusal) && refusal.Permanent() || errors.As(err, &denial) && denial.Permanent()
}

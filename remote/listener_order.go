package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"keystay/acme"
	"keystay/framing"
)

const (
	// orderPause is how long a replica waits when it is another one's turn to order.
	orderPause = 5 * time.Second
	// turnStep is how far apart a device asks again, for all names together: each time is
	// two records on each link, of which a relay takes 20 a second.
	turnStep = 500 * time.Millisecond
)

// A turnPace keeps what asks for turns apart. Whoever waits no more, such as for a link that
// is lost, takes no time of others. The zero value is ready.
type turnPace struct {
	mu   sync.Mutex
	next chan time.Time // when one more may be asked for, unless somebody waits for that
}

// wait waits until one more may be asked for, or ctx ends. Who came first goes first.
func (p *turnPace) wait(ctx context.Context) error {
	p.mu.Lock()
	if p.next == nil {
		p.next = make(chan time.Time, 1)
		p.next <- time.Now()
	}
	p.mu.Unlock()
	var at time.Time
	select {
	case at = <-p.next:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-time.After(time.Until(at)):
		p.next <- time.Now().Add(turnStep)
		return nil
	case <-ctx.Done():
		p.next <- at
		return context.Cause(ctx)
	}
}

// turnPatience is how long a replica asks for its turn, and up to a third longer, so that
// replicas do not give up asking together: 16 replicas take less, one after the other.
// turnAnswer is how long a relay may take to answer, which asks another node at the most.
var turnPatience, turnAnswer = 3 * time.Hour, 30 * time.Second

// errNoTurn is why a replica orders nothing now whose certificate has time.
var errNoTurn = errors.New("not every relay gives this replica its turn to order a certificate")

// A turn is a replica's turn to order the certificate of a name.
type turn struct {
	l *Listener

	mu     sync.Mutex                 // held while nameLinks.mu is taken
	mine   bool                       // the replica has it, or asks for it
	asking map[*framing.Link]struct{} // for which askLate runs

	telling sync.Mutex // held while the log is told
	told    told       // of a turn that has to be waited for
}

// await waits until it is this replica's turn to order at each relay, so that the
// CA's connections come to this run. Where no turn comes for very long, as where others
// take all turns of a relay, it lets the order go on before the certificate ends: the CA
// may find another replica, and then there is the next try. Until that time the order is
// given up, and is tried again later. Orders for other names go on meanwhile, see
// acme.Config.Turn.
func (t *turn) await(ctx context.Context) error {
	l := t.l
	patience := turnPatience + rand.N(turnPatience/3+1) //nolint:gosec // no secret
	for began, again := time.Now(), false; ; again = true {
		if err := l.links.wait(ctx); err != nil {
			return err
		}
		if again { // after wait, which ends for all names at once
			if err := l.d.orders.turns.wait(ctx); err != nil {
				return err
			}
		}
		if t.take(ctx) {
			return nil
		}
		if waited := time.Since(began); waited >= patience {
			if !endsSoon(l.Certificate()) {
				return errNoTurn
			}
			l.d.log.Warn("not every relay gives this replica its turn to order a certificate: it orders without", "name", l.domain,
				"waited", waited.Round(time.Second))
			var wg sync.WaitGroup
			for _, link := range t.begin() { // some relays may give it, and send the CA here
				wg.Go(func() { _, _ = t.ask(ctx, link) })
			}
			wg.Wait()
			return nil
		}
		t.tellWait()
		select {
		case <-time.After(orderPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellWait tells the log that another replica orders first, once for each order, and not
// often where a relay has orders begin and wait again and again.
func (t *turn) tellWait() {
	l := t.l
	t.telling.Lock()
	defer t.telling.Unlock()
	t.told.setLocked(standing{why: "another replica"}, func() {
		l.d.log.Info("another replica orders its certificate first", "name", l.domain)
	}, &t.telling, func(wait time.Duration, do func()) { l.d.after(l.ctx, wait, do) })
}

// tellNoWait notes that there is nothing that waits for the turn any more.
func (t *turn) tellNoWait() {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.told.is, t.told.last = standing{}, standing{}
}

// endsSoon reports whether there is no certificate, or less than a tenth of its validity is
// left.
func endsSoon(c *x509.Certificate) bool {
	return c == nil || time.Until(c.NotAfter) < c.NotAfter.Sub(c.NotBefore)/10
}

// take asks for the turn on every link, and gives it back if one says no, or nothing. One
// that is lost meanwhile counts for nothing, and without any other there is no turn, as while
// a node starts again.
func (t *turn) take(ctx context.Context) bool {
	links := t.begin()
	lost := 0
	for _, link := range links {
		granted, err := t.ask(ctx, link)
		switch {
		case granted:
		case err == nil || errors.Is(err, context.DeadlineExceeded):
			t.end()
			return false
		default:
			lost++
		}
	}
	if lost == len(links) {
		t.end()
		return false
	}
	return true
}

func (t *turn) ask(ctx context.Context, link *framing.Link) (granted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, turnAnswer)
	defer cancel()
	return link.Order(ctx, t.l.domain)
}

// begin notes that the turn is asked for, and returns the links to ask on.
func (t *turn) begin() []*framing.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mine = true
	return t.l.links.all()
}

// linkUp is nameLinks.add, and asks on the link, too, where the turn began before it came up.
func (t *turn) linkUp(link *framing.Link, from time.Time) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first = t.l.links.add(link, from)
	if _, asking := t.asking[link]; t.mine && !asking {
		if t.asking == nil {
			t.asking = make(map[*framing.Link]struct{})
		}
		t.asking[link] = struct{}{}
		go t.askLate(link)
	}
	return first
}

// askLate asks for the turn that the replica has, or waits for, on a link that came up after
// the others, while that is up. Nothing depends on it. Many names may do so at once.
func (t *turn) askLate(link *framing.Link) {
	ctx, cancel := context.WithCancel(t.l.d.ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-link.Done():
		case <-ctx.Done():
		}
	}()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.asking, link)
	}()
	if t.l.d.orders.turns.wait(ctx) != nil || !t.isAskedOn(link) {
		return
	}
	_, _ = link.Order(ctx, t.l.domain)
	if !t.isAskedOn(link) { // it ended meanwhile, and its end may have gone first
		link.OrderDone(t.l.domain)
	}
}

// isAskedOn reports whether the replica has its turn, or waits for it, and the link the name.
func (t *turn) isAskedOn(link *framing.Link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mine && t.l.links.has(link)
}

// end gives the turn back, if the replica has it or asks for it.
func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mine {
		return
	}
	t.mine = false
	for _, link := range t.l.links.all() {
		link.OrderDone(t.l.domain)
	}
}

// noteOrder follows the orders: their turns end with them, also where another process has
// been faster, and Wait tells why the last one failed.
func (l *Listener) noteOrder(e acme.Event) {
	if e.Kind == acme.Waiting || e.Kind == acme.Ordering {
		return
	}
	l.turn.end()
	l.turn.tellNoWait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noCert = e.Err
}

package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// orderPause is how long a replica waits when it is another one's turn to order.
const orderPause = 5 * time.Second

// turnPatience is how long a replica asks for its turn, and up to a third longer, so that
// replicas do not give up asking together: 16 replicas take less, one after the other. turnAnswer is how long a relay may take to answer, which asks another node at the
// most.
var turnPatience, turnAnswer = 3 * time.Hour, 30 * time.Second

// errNoTurn is why a replica orders nothing now whose certificate has time.
var errNoTurn = errors.New("no relay gives this replica its turn to order a certificate")

// awaitTurn waits until it is this replica's turn to order at each relay, so that the
// CA's connections come to this run. Where no turn comes for very long, as where others
// take all turns of a relay, it lets the order go on before the certificate ends: the CA
// may find another replica, and then there is the next try. Until that time the order is
// given up, so that orders for other names have its place.
func (l *Listener) awaitTurn(ctx context.Context) error {
	patience := turnPatience + rand.N(turnPatience/3+1) //nolint:gosec // no secret
	for began := time.Now(); ; {
		if err := l.waitUp(ctx); err != nil {
			return err
		}
		if l.takeTurn(ctx) {
			return nil
		}
		if waited := time.Since(began); waited >= patience {
			if !endsSoon(l.Certificate()) {
				return errNoTurn
			}
			l.d.log.Warn("no relay gives this replica its turn to order a certificate: it orders without", "name", l.domain,
				"waited", waited.Round(time.Second))
			return nil
		}
		l.d.log.Info("another replica orders its certificate first", "name", l.domain)
		select {
		case <-time.After(orderPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// endsSoon reports whether there is no certificate, or less than a tenth of its validity is
// left.
func endsSoon(c *x509.Certificate) bool {
	return c == nil || time.Until(c.NotAfter) < c.NotAfter.Sub(c.NotBefore)/10
}

// takeTurn asks for the turn on every link, and gives it back if one says no, or nothing.
func (l *Listener) takeTurn(ctx context.Context) bool {
	links := l.beginOrder()
	for _, link := range links {
		if !l.takeTurnOn(ctx, link) {
			l.endOrder()
			return false
		}
	}
	return true
}

// takeTurnOn is takeTurn on one link. One that is lost meanwhile counts for nothing.
func (l *Listener) takeTurnOn(ctx context.Context, link *framing.Link) bool {
	ctx, cancel := context.WithTimeout(ctx, turnAnswer)
	defer cancel()
	granted, err := link.Order(ctx, l.domain)
	return granted || err != nil && !errors.Is(err, context.DeadlineExceeded)
}

func (l *Listener) beginOrder() []*framing.Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ordering = true
	return slices.Collect(maps.Keys(l.links))
}

func (l *Listener) endOrder() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ordering {
		return
	}
	l.ordering = false
	for link := range l.links {
		link.OrderDone(l.domain)
	}
}

// held returns until when no new certificate may be ordered from the first CA, as
// the relays say: the last of their times.
func (l *Listener) held() (until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, from := range l.links {
		if from.After(until) {
			until = from
		}
	}
	return until
}

// noteOrder follows the orders: their turns end with them, and Wait tells why
// the last one failed.
func (l *Listener) noteOrder(e acme.Event) {
	if e.Kind != acme.Failed && e.Kind != acme.Obtained && e.Kind != acme.Held {
		return
	}
	l.endOrder()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noCert = e.Err
}

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"keystay/acme"
	"keystay/framing"
)

const (
	// firstPause is the longest wait before the second attempt to reach the
	// relay; each further one is twice as long, up to maxPause. The real wait
	// is a random part of it, so that a relay that was restarted is not
	// trampled.
	firstPause = 500 * time.Millisecond
	maxPause   = 15 * time.Second
	// steady is how long a session must last to count as a success.
	steady = 30 * time.Second
	// handshakeTimeout is how long a visitor's TLS handshake may take.
	handshakeTimeout = 15 * time.Second
)

// run keeps a session with the relay until the listener ends.
func (l *Listener) run() {
	pause := firstPause
	var moved time.Time // when the relay last said that it had moved
	for l.ctx.Err() == nil {
		began := time.Now()
		err := l.session()
		if l.ctx.Err() != nil {
			return
		}
		if final(err) {
			l.log.Error("the relay will not serve this name", "name", l.domain, "err", err)
			l.stop(err)
			return
		}
		if time.Since(began) > steady {
			pause = firstPause
		}
		if errors.Is(err, errMoved) {
			pause = firstPause
			if time.Since(moved) > firstPause {
				moved = time.Now()
				l.log.Info("dialling again at once", "reason", err)
				continue
			}
		}
		l.mu.Lock()
		l.noLink = err
		l.mu.Unlock()
		wait := time.Duration(rand.Int64N(int64(pause)) + 1)
		l.log.Warn("no session with the relay; trying again", "err", err, "in", wait.Round(time.Millisecond))
		pause = min(2*pause, maxPause)
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
		}
	}
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
func (l *Listener) session() error {
	over := make(chan error, 1)
	report := func(err error) {
		select {
		case over <- err:
		default:
		}
	}
	link, welcome, relay, err := l.connect(l.ctx, framing.Handler{
		Lost: func(d *framing.Denial) { report(d) },
		GoAway: func(g framing.GoAway) {
			if g.Code == framing.GoAwayTakeover {
				report(errMoved)
			}
			report(errDraining) // heard only if it is the first
		},
	})
	if err != nil {
		return err
	}
	if !l.keep(link, welcome) {
		link.Close()
		return net.ErrClosed
	}
	l.wg.Go(func() { l.serve(link) })
	ctx, cancel := context.WithTimeout(l.ctx, dialTimeout)
	err = link.Claim(ctx, l.domain, l.cfg.Token)
	cancel()
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx) // drain has the link, and visitors may be on it
	}
	if err != nil {
		link.Close()
		return err
	}
	l.log.Info("session is up", "relay", relay, "address", link.RemoteAddr(), "name", l.domain)
	if err := l.state.rememberRelay(relay); err != nil {
		l.log.Warn("cannot remember the relay", "err", err)
	}
	l.relays = []string{relay}
	l.setUp(true)
	defer l.setUp(false)
	if l.keeper != nil {
		l.keeper.Kick() // a renewal may have come due while there was no session
	}
	select {
	case err = <-over:
		var d *framing.Denial
		if errors.As(err, &d) {
			link.Close()
		}
		return err
	case <-link.Done():
		return link.Err()
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
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

// serve takes the streams of a link until it is over, or no more will come.
func (l *Listener) serve(link *framing.Link) {
	defer func() {
		l.mu.Lock()
		delete(l.links, link)
		l.mu.Unlock()
		l.arriving.Done()
	}()
	for {
		stream, err := link.Accept()
		if err != nil {
			return
		}
		l.arriving.Add(1)
		l.wg.Go(func() { l.welcome(stream) })
	}
}

// welcome brings one visitor to Accept.
func (l *Listener) welcome(stream *framing.Stream) {
	defer l.arriving.Done()
	h := stream.Header()
	switch {
	case h.Name != l.domain:
		stream.Refuse()
	case h.Kind == framing.KindTLS:
		l.shake(stream)
	case h.Kind == framing.KindHTTP01 && l.keeper != nil:
		l.plain.hand(stream)
	default:
		stream.Refuse()
	}
}

// shake does the TLS handshake with a visitor, or with the CA.
func (l *Listener) shake(stream *framing.Stream) {
	tc := tls.Server(stream, l.tls)
	ctx, cancel := context.WithTimeout(l.late, handshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		l.log.Debug("a visitor's TLS handshake failed", "err", err)
		stream.Close()
		return
	}
	if tc.ConnectionState().NegotiatedProtocol == acme.ALPN {
		tc.Close() // the handshake is all of a validation
		return
	}
	select {
	case l.conns <- tc:
	case <-l.late.Done():
		stream.Reset()
	}
}

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// visitorHandshakeTimeout is how long a visitor's TLS handshake may take.
const visitorHandshakeTimeout = 15 * time.Second

// receive brings one visitor, or the CA, to where it belongs. It calls left when a
// visitor's connection is closed.
func (l *Listener) receive(stream *framing.Stream, relay string, left func()) {
	kind := stream.Header().Kind
	switch {
	case l.isPort() != (kind == framing.KindTCP):
		stream.Refuse()
	case kind == framing.KindTCP:
		if _, rules := l.currentRules(); !rules.Admit(stream.Header().Source.Addr()) {
			stream.Refuse()
			return
		}
		l.hand(stream, stream)
	case kind == framing.KindTLS && l.cfg.Raw:
		// Who passes for a CA's validation passes the relay. Here that would be let in: it is
		// not seen from outside which protocol the service agrees to.
		if _, rules := l.currentRules(); !rules.Admit(stream.Header().Source.Addr()) {
			stream.Refuse()
			return
		}
		l.hand(stream, stream)
	case kind == framing.KindTLS:
		l.handshake(&tlsInput{arrival: stream, left: left}, relay)
	case kind == framing.KindHTTP01 && l.keeper != nil:
		l.d.orders.plain.hand(stream, l.validationsBy(relay).questions)
	default:
		stream.Refuse()
	}
}

// handshake does the TLS handshake with a visitor, or with the CA.
func (l *Listener) handshake(stream *tlsInput, relay string) {
	_, rules := l.currentRules()
	config, wanted := l.tls.Load(), rules.Admit(stream.Header().Source.Addr())
	if !wanted {
		unwanted := &l.validationsBy(relay).unwanted
		if !unwanted.enter(stream.arrival) {
			_, _ = stream.Write(accessDenied)
			stream.Close()
			return
		}
		defer unwanted.leave(stream.arrival)
		config = l.validationsOnly(stream.arrival)
	}
	tc := tls.Server(stream, config)
	over := l.ends.begin(stream)
	ctx, cancel := context.WithTimeout(context.Background(), visitorHandshakeTimeout)
	defer cancel()
	// Not by ctx, which would end the stream in good order: for the visitor the
	// handshake may be over, and this end the answer.
	stop := context.AfterFunc(l.late, func() { stream.Reset() })
	defer stop()
	stream.unheard.Set(maxShaken)
	if err := tc.HandshakeContext(ctx); err != nil {
		over(nil)
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the visitor's address
		}
		l.d.log.Debug("a visitor's TLS handshake failed", "err", err)
		stream.Close()
		return
	}
	over(tc)
	if !wanted || tc.ConnectionState().NegotiatedProtocol == acme.ALPN {
		tc.Close() // the handshake is all of a validation
		return
	}
	stop()                // whoever accepts it has it
	stream.unheard.Lift() // nobody else knows what data TLS gives on
	l.hand(tc, stream.arrival)
}

// hand gives a visitor's connection, which stream carries, to Accept.
func (l *Listener) hand(c net.Conn, stream arrival) {
	select {
	case l.conns <- c:
	case <-l.late.Done():
		stream.Reset()
	}
}

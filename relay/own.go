package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"keystay/framing"
	"keystay/internal/unheard"
	"keystay/relay/limits"
)

// handshakeTimeout is how long a TLS handshake for the relay's own name may take.
const handshakeTimeout = 10 * time.Second

// ownTLS ends TLS for the relay's own name. Make it with newOwnTLS.
type ownTLS struct {
	config     *tls.Config
	handshakes *handshakes
}

// newOwnTLS adds links and lanes to base: TLS 1.3 and nothing but their protocol. HTTP/2
// it leaves out: a connection of it can make the library hold a megabyte of answers to
// control frames, of what TLS takes in and of requests, for a site that has one page.
func newOwnTLS(base *tls.Config, noLanes bool) *ownTLS {
	config := base.Clone()
	config.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(p string) bool { return p == "h2" })
	other := config.GetConfigForClient
	link := config.Clone()
	link.GetConfigForClient = nil
	link.MinVersion = tls.VersionTLS13
	link.NextProtos = []string{framing.Protocol}
	link.SessionTicketsDisabled = true // nothing asks for them, and each costs a write
	link.DynamicRecordSizingDisabled = true
	lane := link.Clone()
	lane.NextProtos = []string{framing.LaneProtocol}
	lane.SessionTicketsDisabled = false // the next lane is cheaper
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case slices.Contains(hello.SupportedProtos, framing.Protocol):
			return link, nil
		case slices.Contains(hello.SupportedProtos, framing.LaneProtocol) && !noLanes:
			return lane, nil
		}
		if other != nil {
			return other(hello)
		}
		return nil, nil
	}
	return &ownTLS{config: config, handshakes: newHandshakes()}
}

// shake does the TLS handshake of own when its turn has come.
func (o *ownTLS) shake(ctx context.Context, own *peeked) (*tls.Conn, error) {
	var below net.Conn = own
	if own.lane {
		below = &framing.TLSRecordConn{Conn: own} // it leaves TLS
	}
	tc := tls.Server(below, o.config)
	own.turns = &turns{of: o.handshakes, ctx: ctx, conn: own}
	if err := own.turns.take(); err != nil {
		return tc, err
	}
	defer func() {
		own.turns.end()
		own.turns = nil
	}()
	if err := own.place.here(tlsMemory + len(own.first)); err != nil {
		return tc, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	own.turns.ctx = ctx
	own.unheard.Set(maxShaken + len(own.first))
	err := tc.HandshakeContext(ctx)
	own.unheard.Set(maxShaken) // enough for HELLO or JOIN
	return tc, err
}

// mayShake counts the handshake of a link, and says whether it may begin. One that
// is too many may where the remote is to be told so.
func (a *admitted) mayShake(link bool) bool {
	if !link {
		return true
	}
	why, tell := a.from.Handshake()
	if why != limits.None {
		a.refusal = tooMany(why)
	}
	return why == limits.None || tell
}

// acmeALPN is the protocol of a CA's TLS-ALPN-01 validation (RFC 8737): the
// handshake is all of it.
const acmeALPN = "acme-tls/1"

// handleOwn ends TLS for the relay's own name. It reports whether the connection is
// kept: else it is over, or the HTTP server's.
func (s *Server) handleOwn(own *peeked, a *admitted) (kept bool) {
	tc, err := s.own.shake(s.ctx, own)
	switch proto := tc.ConnectionState().NegotiatedProtocol; {
	case err != nil:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the visitor's address
		}
		s.log.Debug("TLS handshake failed", "for", s.Domain, "err", err)
		tc.Close()
	case proto == framing.Protocol:
		a.routed() // it lasts
		cs := tc.ConnectionState()
		return s.serveLink(&heardConn{tc, own}, &cs, a)
	case proto == framing.LaneProtocol:
		s.serveLane(tc, func() { a.place.end(); a.from.Close(); a.routed() })
	case proto == acmeALPN:
		tc.Close()
	case a.place.here(siteMemory) != nil:
		s.shares.outOfMemory()
		tc.Close()
	default:
		own.unheard.Set(unheard.Most)
		s.web.hand(newTLSHeadConn(&heardConn{tc, own}))
		a.place, a.from = nil, nil // the HTTP server's, until it closes c
	}
	return false
}

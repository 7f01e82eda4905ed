package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"keystay/framing"
)

// handshakeTimeout is how long a TLS handshake for the relay's own name may take.
const handshakeTimeout = 10 * time.Second

// ownTLS adds links and lanes to s.TLS: TLS 1.3 and nothing but their protocol.
func (s *Server) ownTLS() *tls.Config {
	config := s.TLS.Clone()
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
		case slices.Contains(hello.SupportedProtos, framing.LaneProtocol) && !s.NoLanes:
			return lane, nil
		}
		if other != nil {
			return other(hello)
		}
		return nil, nil
	}
	return config
}

// acmeALPN is the protocol of a CA's TLS-ALPN-01 validation (RFC 8737): the
// handshake is all of it.
const acmeALPN = "acme-tls/1"

// handleOwn ends TLS for the relay's own name. It calls forget when the connection
// is over or somebody else's, and routed when it is where it belongs.
func (s *Server) handleOwn(own *peeked, forget, routed func()) {
	defer routed()
	var below net.Conn = own
	if own.lane {
		below = &framing.TLSRecordConn{Conn: own} // it leaves TLS
	}
	tc := tls.Server(below, s.ownConfig)
	err := s.shake(tc, own)
	if tc.ConnectionState().NegotiatedProtocol == framing.Protocol {
		routed() // it lasts
	}
	switch proto := tc.ConnectionState().NegotiatedProtocol; {
	case err != nil:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the visitor's address
		}
		s.log.Debug("TLS handshake failed", "for", s.Domain, "err", err)
		tc.Close()
	case proto == framing.Protocol:
		cs := tc.ConnectionState()
		s.serveLink(tc, &cs, own.place, forget)
		return
	case proto == framing.LaneProtocol:
		s.serveLane(tc, func() { own.place.end(); routed() })
		own.place.end()
	case proto == acmeALPN:
		tc.Close()
	case own.place.here(siteMemory(proto)) != nil:
		s.outOfMemory()
		tc.Close()
	default: // the HTTP server owns it from here
		forget()
		var c net.Conn = tc
		if proto != "h2" {
			c = newTLSHeadConn(tc)
		}
		s.siteHTTP.Expect(c)
		s.site.hand(c)
		return
	}
	forget()
}

// shake does the TLS handshake when its turn has come.
func (s *Server) shake(tc *tls.Conn, own *peeked) error {
	own.turns = &turns{of: s.handshakes, ctx: s.ctx, conn: own}
	if err := own.turns.take(); err != nil {
		return err
	}
	defer func() {
		own.turns.end()
		own.turns = nil
	}()
	if err := own.place.here(tlsMemory + len(own.first)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
	defer cancel()
	own.turns.ctx = ctx
	return tc.HandshakeContext(ctx)
}

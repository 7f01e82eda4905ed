package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"keystay/framing"
	"keystay/internal/httpdrain"
)

// handshakeTimeout is how long a TLS handshake for the relay's own name may take.
const handshakeTimeout = 10 * time.Second

// serveOwn ends TLS for the relay's own name.
func (s *Server) serveOwn() {
	config := s.ownTLS()
	for {
		c, err := s.own.Accept()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.log.Error("cannot serve the relay's own name", "err", err)
			}
			return
		}
		if p, ok := c.(*peeked); ok && p.lane {
			c = &framing.TLSRecordConn{Conn: c} // it leaves TLS
		}
		go s.handleOwn(tls.Server(c, config))
	}
}

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

func (s *Server) handleOwn(tc *tls.Conn) {
	routed := sync.OnceFunc(s.routing.done)
	defer routed()
	forget, ok := s.admit(tc)
	if !ok {
		tc.Close()
		return
	}
	err := s.shake(tc)
	if p, ok := belowTLS(tc).(*peeked); ok && p.place.end() && err == nil {
		err = errNoRoom
	}
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
		s.serveLink(tc, &cs, forget)
		return
	case proto == framing.LaneProtocol:
		s.serveLane(tc, routed)
	case proto == acmeALPN:
		tc.Close()
	default: // the HTTP server owns it from here
		forget()
		s.siteHTTP.Expect(tc)
		s.site.HandleConn(tc)
		return
	}
	forget()
}

// shake does the TLS handshake when its turn has come. The turn ends when the
// handshake first waits for the peer: what is left to compute then is little.
func (s *Server) shake(tc *tls.Conn) error {
	leave, err := s.gate.enter(s.ctx)
	if err != nil {
		return err
	}
	defer leave()
	if p, ok := belowTLS(tc).(*peeked); ok {
		p.idle = leave
		defer func() { p.idle = nil }()
	}
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
	defer cancel()
	return tc.HandshakeContext(ctx)
}

// belowTLS is the connection that serveOwn has put TLS on.
func belowTLS(tc *tls.Conn) net.Conn {
	below := tc.NetConn()
	if r, ok := below.(*framing.TLSRecordConn); ok {
		below = r.Conn
	}
	return below
}

// httpServer returns a server with the limits that every public one has.
func (s *Server) httpServer(h http.Handler) *httpdrain.Server {
	return httpdrain.New(&http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // its lines carry visitors' addresses
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
	})
}

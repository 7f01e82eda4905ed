package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"keystay/acme"
	"keystay/framing"
)

// visitorHandshakeTimeout is how long a visitor's TLS handshake may take.
const visitorHandshakeTimeout = 15 * time.Second

// withName makes config choose the certificate of domain for a visitor that has
// sent no name, or an address (RFC 6066, section 3: neither is a name). The relay
// leads such a visitor here where its operator has said so.
func withName(config *tls.Config, domain string) *tls.Config {
	get := config.GetCertificate
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if _, err := netip.ParseAddr(hello.ServerName); err == nil || hello.ServerName == "" {
			named := *hello
			named.ServerName = domain
			hello = &named
		}
		return get(hello)
	}
	return config
}

// acceptStreams takes the streams of a link until it is lost, or no more will come.
func (l *Listener) acceptStreams(link *framing.Link) {
	defer func() {
		l.arriving.Done()
		link.WaitIdle(l.cut) // lanes outlive the link
		l.mu.Lock()
		delete(l.links, link)
		l.mu.Unlock()
	}()
	for {
		stream, err := link.Accept()
		if err != nil {
			return
		}
		l.arriving.Add(1)
		l.wg.Go(func() { l.receive(stream) })
	}
}

// receive brings one visitor to Accept.
func (l *Listener) receive(stream *framing.Stream) {
	defer l.arriving.Done()
	defer l.panics.Catch("letting a visitor in", func() { stream.Reset() })
	h := stream.Header()
	switch {
	case h.Name != l.domain, l.isFull(h):
		stream.Refuse()
	case h.Kind == framing.KindTLS && l.cfg.Raw:
		l.hand(stream, stream)
	case h.Kind == framing.KindTLS:
		l.handshake(stream)
	case h.Kind == framing.KindHTTP01 && l.keeper != nil:
		l.plain.hand(stream)
	default:
		stream.Refuse()
	}
}

// handshake does the TLS handshake with a visitor, or with the CA.
func (l *Listener) handshake(stream *framing.Stream) {
	tc := tls.Server(tlsInput{stream}, l.tls)
	ctx, cancel := context.WithTimeout(context.Background(), visitorHandshakeTimeout)
	defer cancel()
	// Not by ctx, which would end the stream in good order: for the visitor the
	// handshake may be over, and this end the answer.
	stop := context.AfterFunc(l.late, func() { stream.Reset() })
	defer stop()
	if err := tc.HandshakeContext(ctx); err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the visitor's address
		}
		l.log.Debug("a visitor's TLS handshake failed", "err", err)
		stream.Close()
		return
	}
	if tc.ConnectionState().NegotiatedProtocol == acme.ALPN {
		tc.Close() // the handshake is all of a validation
		return
	}
	stop() // whoever accepts it has it
	l.hand(tc, stream)
}

// hand gives a visitor's connection, which stream carries, to Accept.
func (l *Listener) hand(c net.Conn, stream *framing.Stream) {
	select {
	case l.conns <- c:
	case <-l.late.Done():
		stream.Reset()
	}
}

package publish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// localDialTimeout is how long the local service may take to answer a dial,
	// and then a TLS handshake, where a route does not say. There is no limit for its answer then: a long
	// poll looks like a service that hangs. Its visitor decides how long to wait, and
	// the service is told when the visitor leaves.
	localDialTimeout = 10 * time.Second
	// expectTimeout is how long a service may think about Expect: 100-continue.
	// Then the visitor is asked for its body: some services never say a word.
	expectTimeout = time.Second
	// localSessions is how many TLS sessions of an https service are kept, so
	// that the handshake of a next visitor's connection is short.
	localSessions = 64
)

// A service is the local service of a target, for the visitors of one name.
type service struct {
	serviceKey
	domain   string
	names    []string // what an https service may be asked for, see serverNames
	sessions tls.ClientSessionCache
	proxy    http.Handler

	name       atomic.Int32 // which of names was taken last
	misdirects atomic.Bool  // it answers 421 to another try, too
	http2      atomic.Bool  // of the two it has chosen HTTP/2 last
	gone       atomic.Bool  // no route leads to it any more
}

// A serviceKey is what makes a service another one.
type serviceKey struct {
	*Target
	connect, answer time.Duration // of Route
}

func newService(k serviceKey, domain string) *service {
	if k.connect == 0 {
		k.connect = localDialTimeout
	}
	s := &service{serviceKey: k, domain: domain, names: k.serverNames(domain), sessions: tls.NewLRUClientSessionCache(localSessions)}
	s.proxy = s.newProxy()
	return s
}

// serverNames are the server names to try with an https service, the first one
// first. "" is none. A service that is given by name is asked for that name. A
// service that is given by address, which is no server name (RFC 6066, section
// 3), is asked for the name that is in the request's Host, for many choose a
// virtual host by it. There are services that end the handshake for a name that
// they do not know, or that answer it with 421: they are asked for the next one.
func (t *Target) serverNames(domain string) []string {
	host := t.URL.Hostname()
	seen := (&url.URL{Host: t.serviceHost(domain)}).Hostname()
	switch {
	case net.ParseIP(host) == nil:
		return slices.Compact([]string{host, seen})
	case net.ParseIP(seen) == nil:
		return []string{seen, ""}
	}
	return []string{""}
}

// transport returns a transport that dials with dial.
func (s *service) transport(k transportKey, r room, dial func(context.Context) (net.Conn, error)) *http.Transport {
	tr := &http.Transport{
		Protocols:             new(http.Protocols),
		MaxConnsPerHost:       maxLocalConns,
		MaxIdleConnsPerHost:   maxLocalConns,
		IdleConnTimeout:       localIdleTimeout,
		ResponseHeaderTimeout: s.answer,
		ExpectContinueTimeout: expectTimeout,
		DisableCompression:    true, // what the visitor asked for is what it gets
		HTTP2:                 r.local(),
	}
	if k.upgrade {
		tr.MaxConnsPerHost = 0 // a visitor's connection is one itself, or has maxTunnels
	}
	switch {
	case s.H2C:
		tr.Protocols.SetUnencryptedHTTP2(true)
	case s.URL.Scheme == "https" && !k.http1:
		tr.Protocols.SetHTTP1(true)
		tr.Protocols.SetHTTP2(true)
	default:
		tr.Protocols.SetHTTP1(true)
	}
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil || s.H2C {
			return c, err
		}
		return &answerConn{Conn: c}, nil
	}
	if s.URL.Scheme == "https" {
		offer := []string{"h2", "http/1.1"}
		if k.http1 {
			offer = offer[1:]
		}
		tr.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := s.dialTLS(ctx, dial, offer, k.name)
			if err != nil {
				return nil, err
			}
			chosen := c.ConnectionState().NegotiatedProtocol == "h2"
			if !k.http1 {
				s.http2.Store(chosen)
			}
			if chosen {
				return c, nil
			}
			return &answerConn{Conn: c}, nil
		}
	}
	return tr
}

// dialTLS reaches an https service, and asks it for the server name with the
// given number. If it ends the handshake, it is asked for the next one.
func (s *service) dialTLS(ctx context.Context, dial func(context.Context) (net.Conn, error), offer []string, name int32) (*tls.Conn, error) {
	var first error
	for i := range s.names {
		n := (int(name) + i) % len(s.names)
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, s.tlsConfig(s.names[n], offer))
		shake, cancel := context.WithTimeout(ctx, s.connect)
		err = tc.HandshakeContext(shake)
		cancel()
		if err == nil {
			s.name.Store(int32(n)) // there are two names at most
			return tc, nil
		}
		c.Close()
		if first == nil {
			first = &handshakeError{err}
		}
		if !endedByPeer(err) {
			break
		}
	}
	return nil, first
}

// A handshakeError is that of a TLS handshake with the local service.
type handshakeError struct{ err error }

// Error implements error.
func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }

// Unwrap returns what went wrong.
func (e *handshakeError) Unwrap() error { return e.err }

// tlsConfig is for one connection. The certificate is checked against the
// target's host, whatever name is asked for.
func (s *service) tlsConfig(name string, offer []string) *tls.Config {
	c := &tls.Config{
		ServerName:         name,
		NextProtos:         offer,
		RootCAs:            s.Roots,
		ClientSessionCache: s.sessions,
		InsecureSkipVerify: true, // VerifyConnection checks, but for https+insecure
	}
	if !s.Insecure {
		c.VerifyConnection = s.verify
	}
	return c
}

// verify checks the service's certificate as package crypto/tls would, but
// against the target's host.
func (s *service) verify(cs tls.ConnectionState) error {
	options := x509.VerifyOptions{Roots: s.Roots, DNSName: s.URL.Hostname(), Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

// dial reaches the local service at the first of its addresses that answers.
func (s *service) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: s.connect}
	var errs []error
	for _, a := range s.Addresses {
		c, err := d.DialContext(ctx, s.Network, a)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, errNoAddress
	}
	return nil, errors.Join(errs...)
}

var errNoAddress = errors.New("the target has no address")

// Check looks whether the local service can be reached, without a request: it
// dials, and does the TLS handshake with an https service. Domain is the public
// name. The error says why not, in words for people, and has hints.
func (t *Target) Check(ctx context.Context, domain string) error {
	s := newService(serviceKey{Target: t}, domain)
	dial := s.dial
	if t.URL.Scheme == "https" {
		dial = func(ctx context.Context) (net.Conn, error) {
			return s.dialTLS(ctx, s.dial, []string{"h2", "http/1.1"}, 0)
		}
	}
	c, err := dial(ctx)
	if err != nil {
		return s.fault(err)
	}
	c.Close()
	return nil
}

package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"keystay/framing"
)

// dialTimeout is how long one attempt to reach a relay may take, from the
// look-up of its address to its answer.
const dialTimeout = 15 * time.Second

// A NoRelayError says why no relay could be reached.
type NoRelayError struct {
	Relay string // its name, and port if it is not 443
	Err   error
}

func (e *NoRelayError) Error() string { return fmt.Sprintf("reach relay %s: %v", e.Relay, e.Err) }

// Unwrap returns what went wrong.
func (e *NoRelayError) Unwrap() error { return e.Err }

// Hints says what to do, in one line each.
func (e *NoRelayError) Hints() []string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(e.Err, &dns):
		return []string{"the name of the relay has no address: check it, and this device's DNS"}
	case errors.As(e.Err, &unknown):
		return []string{"the relay's certificate is from a CA that this device does not trust",
			"if the relay has a CA of its own, give its root with --relay-root FILE",
			"else something between this device and the relay ends TLS"}
	case errors.As(e.Err, &host):
		return []string{"what answers there is not this relay: check --relay and --relay-address"}
	case errors.Is(e.Err, errNotRelay):
		return []string{"what answers there speaks TLS but is no keystay relay: check --relay"}
	}
	return nil
}

// errNotRelay is the error of a TLS server that does not speak our protocol.
var errNotRelay = errors.New("it does not speak " + framing.Protocol)

// connect links to the relay: to the one that has answered before, or to the
// first that answers among those that it may be.
func (w *way) connect(ctx context.Context, handler framing.Handler) (*framing.Link, framing.Welcome, string, error) {
	candidates := w.candidates
	w.mu.Lock()
	if w.relay != "" {
		candidates = []string{w.relay}
	}
	w.mu.Unlock()
	var errs []error
	for _, relay := range candidates {
		link, welcome, err := w.link(ctx, relay, handler)
		if err == nil {
			return link, welcome, relay, nil
		}
		var refused *framing.Refusal
		if errors.As(err, &refused) {
			return nil, welcome, relay, err
		}
		errs = append(errs, &NoRelayError{Relay: relay, Err: err})
	}
	return nil, framing.Welcome{}, "", errors.Join(errs...)
}

// link links to one relay.
func (w *way) link(ctx context.Context, relay string, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	l := w.l
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port := splitRelay(relay)
	conn, err := w.dial(ctx, host, port)
	if err != nil {
		return nil, framing.Welcome{}, err
	}
	tc := tls.Client(conn, &tls.Config{
		ServerName: host,
		RootCAs:    l.cfg.RelayRoots,
		MinVersion: tls.VersionTLS13, // the proof of identity needs its exporter
		NextProtos: []string{framing.Protocol},
		// Whole records from the start: nobody renders the first bytes early here.
		DynamicRecordSizingDisabled: true,
	})
	if err := handshake(ctx, tc); err != nil {
		conn.Close()
		return nil, framing.Welcome{}, err
	}
	cs := tc.ConnectionState()
	hello := framing.Hello{Run: l.state.run, Agent: "keystay-remote/" + l.cfg.Version}
	if err := hello.Sign(l.state.key, &cs, strings.ToLower(host)); err != nil {
		conn.Close()
		return nil, framing.Welcome{}, err
	}
	return framing.Client(ctx, tc, hello, handler)
}

// dial reaches a relay at an address that no other link leads to, if there is
// one that answers, else at any.
func (w *way) dial(ctx context.Context, host, port string) (net.Conn, error) {
	addresses := w.addresses
	if len(addresses) == 0 {
		addresses = []string{net.JoinHostPort(host, port)}
	}
	var d net.Dialer
	for _, a := range w.unused(ctx, addresses) {
		// A short time each: those that other links use are known to answer.
		short, cancel := context.WithTimeout(ctx, otherAddressTimeout)
		conn, err := d.DialContext(short, "tcp", a)
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	var errs []error
	for _, a := range addresses {
		conn, err := d.DialContext(ctx, "tcp", a)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// otherAddressTimeout is how long an address may take to answer that would
// only make the links more diverse.
const otherAddressTimeout = 3 * time.Second

// unused returns the addresses of the relay that no link leads to, if there are
// links at all.
func (w *way) unused(ctx context.Context, addresses []string) (list []string) {
	w.mu.Lock()
	in := maps.Clone(w.in)
	w.mu.Unlock()
	if len(in) == 0 {
		return nil
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			if at := net.JoinHostPort(ip.Unmap().String(), port); in[at] == 0 {
				list = append(list, at)
			}
		}
	}
	return list
}

func handshake(ctx context.Context, tc *tls.Conn) error {
	err := tc.HandshakeContext(ctx)
	switch {
	case isAlert(err, alertUnrecognizedName):
		return fmt.Errorf("it answers, but under another name: %w", err)
	case isAlert(err, alertNoApplicationProtocol):
		return errNotRelay
	case err != nil:
		return err
	case tc.ConnectionState().NegotiatedProtocol != framing.Protocol:
		return errNotRelay
	}
	return nil
}

// isAlert reports whether the other side sent that alert. Over TCP crypto/tls
// keeps the type of its alerts to itself; they read the same as the one that it
// exports for QUIC.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

// Alerts that say something about a relay (RFC 8446, section 6).
const (
	alertUnrecognizedName      tls.AlertError = 112
	alertNoApplicationProtocol tls.AlertError = 120
)

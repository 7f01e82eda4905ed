package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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

// connect links to the relay: to the configured one, or to the first that
// answers among those that the name climbs to.
func (l *Listener) connect(ctx context.Context, handler framing.Handler) (*framing.Link, framing.Welcome, string, error) {
	var errs []error
	for _, relay := range l.relays {
		link, welcome, err := l.dial(ctx, relay, handler)
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

// dial links to one relay.
func (l *Listener) dial(ctx context.Context, relay string, handler framing.Handler) (*framing.Link, framing.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port := splitRelay(relay)
	address := l.cfg.RelayAddress
	if address == "" {
		address = net.JoinHostPort(host, port)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
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

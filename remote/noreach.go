package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"keystay/framing"
	"keystay/internal/proxydial"
)

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
	var proxy *proxydial.Error
	var upgrade *framing.UpgradeError
	var op *net.OpError
	dialing := errors.As(e.Err, &op) && op.Op == "dial"
	switch {
	case errors.As(e.Err, &proxy):
		return nil // it has hints of its own
	case errors.As(e.Err, &dns):
		return []string{"the name of the relay has no address: check it, and this device's DNS"}
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return []string{"nothing listens there: is the relay running, and is the port right?"}
	case dialing && (op.Timeout() || errors.Is(e.Err, context.DeadlineExceeded)):
		return []string{"nothing answers there: is the relay's host up, and does its firewall let the port through?"}
	case errors.Is(e.Err, syscall.ENETUNREACH), errors.Is(e.Err, syscall.EHOSTUNREACH):
		return []string{"no way leads there from here: is this device online?"}
	case errors.Is(e.Err, errNoCertificate):
		return []string{"it is about to get one, or cannot: its own log says which"}
	case errors.As(e.Err, &unknown):
		return []string{"the relay's certificate is from a CA that this device does not trust",
			"if the relay has a CA of its own, give its root with --relay-root FILE",
			"else something between this device and the relay ends TLS, such as a company's proxy or a virus scanner: use another network or turn it off"}
	case errors.As(e.Err, &host):
		return []string{"what answers there is not this relay: check --relay and --relay-address"}
	case errors.Is(e.Err, errNotRelay):
		return []string{"what answers there speaks TLS but is no keystay relay: check --relay"}
	case errors.As(e.Err, &upgrade):
		return []string{"what answers there takes no link over a WebSocket: it is no keystay relay, or one too old, or something on the path answers in its place"}
	}
	return nil
}

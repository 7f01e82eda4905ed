package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"keystay/framing"
	"keystay/internal/hint"
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

// Hints says what to do, in one line each. What Err has of its own is not
// repeated.
func (e *NoRelayError) Hints() []string {
	if a := e.advice(); a != nil {
		return a.Do
	}
	return nil
}

func (e *NoRelayError) advice() *hint.Advice {
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
		return hint.RelayHasNoAddress
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return hint.NothingListens
	case dialing && (op.Timeout() || errors.Is(e.Err, context.DeadlineExceeded)):
		return hint.NothingAnswers
	case errors.Is(e.Err, syscall.ENETUNREACH), errors.Is(e.Err, syscall.EHOSTUNREACH):
		return hint.Offline
	case errors.Is(e.Err, errNoCertificate):
		return hint.NoRelayCertificate
	case errors.As(e.Err, &unknown):
		return hint.UntrustedRelay
	case errors.As(e.Err, &host):
		return hint.OtherRelay
	case errors.Is(e.Err, errNotRelay):
		return hint.NotRelay
	case errors.As(e.Err, &upgrade):
		return hint.NoWebSocket
	}
	return nil
}

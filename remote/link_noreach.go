package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/proxydial"
)

// A NoRelayError says why no relay could be reached.
type NoRelayError struct {
	Relay string // its name, and port if it is not 443
	Err   error

	rooted bool // its certificate was checked for roots that were given
}

func (e *NoRelayError) Error() string { return fmt.Sprintf("reach relay %s: %v", e.Relay, e.Err) }

// Unwrap returns what went wrong.
func (e *NoRelayError) Unwrap() error { return e.Err }

// Hints says what to do, in one line each. What Err has of its own is not
// repeated.
func (e *NoRelayError) Hints() []string {
	var proxy *proxydial.Error
	var dns *net.DNSError
	var through *throughProxyError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(e.Err, &proxy), errors.As(e.Err, &through):
		return nil // it has hints of its own
	case errors.As(e.Err, &dns) && dns.IsNotFound && e.Relay != "" && !e.isOf(dns.Name):
		return hint.AddressHasNoAddress.With("HOST", fmt.Sprintf("%q", plain.Text(dns.Name)))
	case errors.As(e.Err, &dns):
		return unresolved(dns, resolvConf)
	case errors.Is(e.Err, errNoCertificate):
		return hint.NoRelayCertificate.Do
	case errors.As(e.Err, &untrusted):
		return unverified(untrusted, e.rooted, time.Now())
	}
	if a := e.advice(); a != nil {
		return a.Do
	}
	return nil
}

func (e *NoRelayError) advice() *hint.Advice {
	var op *net.OpError
	var upgrade *framing.UpgradeError
	var notTLS tls.RecordHeaderError
	var silent *noAnswerError
	dialing := errors.As(e.Err, &op) && op.Op == "dial"
	switch {
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return hint.NothingListens
	case dialing && (op.Timeout() || errors.Is(e.Err, context.DeadlineExceeded)):
		return hint.NothingAnswers
	case errors.Is(e.Err, syscall.ENETUNREACH), errors.Is(e.Err, syscall.EHOSTUNREACH):
		return hint.Offline
	case isAlert(e.Err, alertUnrecognizedName):
		return hint.OtherName
	case errors.As(e.Err, &notTLS):
		return hint.NotTLS
	case errors.Is(e.Err, errNotRelay):
		return hint.NotRelay
	case errors.As(e.Err, &upgrade):
		return hint.NoWebSocket
	case errors.As(e.Err, &silent):
		return hint.Silent
	case isLostHello(e.Err):
		return hint.PathBreaks
	}
	return nil
}

// isOf reports whether a name that was looked up is the relay's own.
func (e *NoRelayError) isOf(name string) bool {
	host, _ := splitRelay(e.Relay)
	return strings.EqualFold(strings.TrimSuffix(name, "."), host)
}

// unverified says what to do about a certificate that this device refuses.
// Rooted says that the roots were given.
func unverified(err *tls.CertificateVerificationError, rooted bool, now time.Time) []string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	clock := now.Format(time.RFC3339)
	switch {
	case errors.As(err, &host):
		return hint.OtherRelay.Do
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return hint.RelayNotYetValid.With("NOW", clock, "DATE", invalid.Cert.NotBefore.Format(time.RFC3339))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.RelayExpired.With("NOW", clock, "DATE", invalid.Cert.NotAfter.Format(time.RFC3339))
	}
	sent := err.UnverifiedCertificates
	if rooted && len(sent) > 0 {
		lines := hint.OtherRoot.With("ISSUER", fmt.Sprintf("%q", plain.Text(issuer(sent[len(sent)-1]))))
		if len(sent) > 1 || string(sent[0].RawIssuer) == string(sent[0].RawSubject) {
			lines = slices.Delete(lines, 1, 2) // no intermediate is missing
		}
		return lines
	}
	if len(sent) == 1 && string(sent[0].RawIssuer) != string(sent[0].RawSubject) {
		return hint.NoIntermediate.With("ISSUER", fmt.Sprintf("%q", plain.Text(issuer(sent[0]))))
	}
	return hint.UntrustedRelay.Do
}

// A noAnswerError says that the other side has taken a message and not answered
// in time.
type noAnswerError struct {
	to     string
	within time.Duration
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("no answer to %s within %v", e.to, e.within)
}

// Unwrap makes it a deadline that was exceeded.
func (e *noAnswerError) Unwrap() error { return context.DeadlineExceeded }

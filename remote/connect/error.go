package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"keystay/internal/hint"
	"keystay/internal/plain"
)

// An Error says why a name gave no connection, or what broke one.
type Error struct {
	Name   string // with its port
	Err    error
	Broken bool // the connection was there: bytes that have gone either way may not be all
}

func (e *Error) Error() string {
	if e.Broken {
		return fmt.Sprintf("connection to %s: %v", e.Name, plain.Error(e.Err))
	}
	return fmt.Sprintf("connect to %s: %v", e.Name, plain.Error(e.Err)) // it can quote a certificate
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// Hints says what to do, in one line each. What Err has of its own is not repeated.
func (e *Error) Hints() []string {
	var untrusted *tls.CertificateVerificationError
	if errors.As(e.Err, &untrusted) {
		return unverified(untrusted, time.Now())
	}
	if len(hint.All(e.Err)) > 0 { // such as a proxy's
		return nil
	}
	if a := e.advice(); a != nil {
		return a.Do
	}
	return nil
}

// Alerts with which a relay or a device refuses a visitor (RFC 8446, section 6).
const (
	alertAccessDenied          tls.AlertError = 49
	alertInternalError         tls.AlertError = 80
	alertUnrecognizedName      tls.AlertError = 112
	alertCertificateRequired   tls.AlertError = 116
	alertNoApplicationProtocol tls.AlertError = 120
)

func (e *Error) advice() *hint.Advice {
	var op *net.OpError
	var dns *net.DNSError
	var notTLS tls.RecordHeaderError
	switch {
	case isAlert(e.Err, alertUnrecognizedName):
		return hint.ConnectUnknown
	case isAlert(e.Err, alertInternalError):
		return hint.ConnectAway
	case isAlert(e.Err, alertAccessDenied):
		return hint.ConnectDenied
	case isAlert(e.Err, alertNoApplicationProtocol):
		return hint.ConnectProtocol
	case isAlert(e.Err, alertCertificateRequired):
		return hint.ConnectCertificate
	case e.Broken:
		return hint.ConnectBroken
	case errors.As(e.Err, &dns) && dns.IsNotFound:
		return hint.ConnectNoAddress
	case errors.As(e.Err, &dns):
		return hint.ResolverAway
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return hint.ConnectRefused
	case errors.Is(e.Err, syscall.ENETUNREACH), errors.Is(e.Err, syscall.EHOSTUNREACH):
		return hint.ConnectNoWay
	case errors.As(e.Err, &op) && op.Op == "dial" && (op.Timeout() || errors.Is(e.Err, context.DeadlineExceeded)), errors.Is(e.Err, errSilent):
		return hint.ConnectSilent
	case errors.As(e.Err, &notTLS):
		return hint.ConnectNotTLS
	}
	return nil
}

// unverified says what to do about a certificate that does not verify.
func unverified(err *tls.CertificateVerificationError, now time.Time) []string {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return hint.ConnectOtherName.Do
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.ConnectNotValid.With("FROM", invalid.Cert.NotBefore.Format(time.RFC3339), "DATE", invalid.Cert.NotAfter.Format(time.RFC3339), "NOW", now.Format(time.RFC3339))
	}
	return hint.ConnectUntrusted.Do
}

// isAlert reports whether the other side sent that alert. Over TCP crypto/tls keeps the
// type of its alerts to itself; they read the same as the one that it exports for QUIC.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

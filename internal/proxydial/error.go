package proxydial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"keystay/internal/hint"
)

// An Error says why a proxy gave no connection.
type Error struct {
	Proxy  string // its URL without user and password
	Status int    // what an HTTP proxy answered, or 0
	Err    error  // what else went wrong

	noBasic bool // with status 407: a user and password would not do
	signed  bool // a user and password were sent

	variable string // of the environment, that names the proxy; or empty
}

func (e *Error) Error() string {
	name := e.Proxy
	if e.variable != "" {
		name += ", which " + e.variable + " names"
	}
	if e.Err != nil {
		return fmt.Sprintf("proxy %s: %v", name, e.Err)
	}
	text := strings.TrimSpace(fmt.Sprintf("proxy %s: it answers CONNECT with %d %s", name, e.Status, http.StatusText(e.Status)))
	if e.Status == http.StatusProxyAuthRequired && e.signed {
		text += ", to the user and password that it was given"
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Hints says what to do, in one line each.
func (e *Error) Hints() []string {
	var lines []string
	if a := e.advice(); a != nil {
		lines = a.Do
	}
	if e.variable != "" {
		lines = slices.Concat(lines, hint.ProxyNamed.With("VARIABLE", e.variable))
	}
	return lines
}

func (e *Error) advice() *hint.Advice {
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case e.Status == http.StatusProxyAuthRequired && e.noBasic:
		return hint.ProxyOtherSignIn
	case e.Status == http.StatusProxyAuthRequired && e.signed:
		return hint.ProxyWrongUser
	case e.Status == http.StatusProxyAuthRequired:
		return hint.ProxySignIn
	case e.Status == http.StatusForbidden:
		return hint.ProxyForbids
	case e.Status == http.StatusNotImplemented:
		return hint.ProxyIsNone
	case e.Status >= 500:
		return hint.ProxyCannotReach
	case e.Status >= 400:
		return hint.ProxyIsNone
	case e.Status >= 300:
		return hint.ProxyPortal
	case errors.Is(e.Err, errHungUp), errors.Is(e.Err, errCut), errors.Is(e.Err, syscall.ECONNRESET) && !strings.HasPrefix(e.Proxy, "socks5"):
		return hint.ProxyHangsUp
	case errors.Is(e.Err, errNoHTTP):
		return hint.ProxyKind
	case errors.As(e.Err, &op) && op.Op == "dial":
		return hint.ProxyAway
	case errors.As(e.Err, &untrusted):
		return hint.ProxyUntrusted
	case errors.As(e.Err, &plain) && strings.HasPrefix(e.Proxy, "https"):
		return hint.ProxyKind
	case strings.HasPrefix(e.Proxy, "socks5"):
		return hint.ProxySOCKS
	}
	return nil
}

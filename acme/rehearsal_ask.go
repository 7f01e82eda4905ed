package acme

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/mholt/acmez/v3/acme"
)

// idACMEIdentifier is the extension of a validation's certificate (RFC 8737
// section 6.1).
var idACMEIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// Alerts of servers that are not there for the name (RFC 8446 section 6).
const (
	alertUnrecognizedName      tls.AlertError = 112
	alertNoApplicationProtocol tls.AlertError = 120
)

// A wrongAnswer is what is wrong with an answer, in words that follow the address.
type wrongAnswer string

const (
	noValidation wrongAnswer = "shows the certificate of something else, not that of a validation"
	otherOrder   wrongAnswer = "answers for another order: another device or process is there"
	noALPN       wrongAnswer = "does not speak " + ALPN
)

// Error implements error.
func (w wrongAnswer) Error() string { return string(w) }

// askTLS looks for the answer to chal over conn (RFC 8737 section 3).
func askTLS(ctx context.Context, conn net.Conn, chal acme.Challenge) error {
	name := chal.Identifier.Value
	c := tls.Client(conn, &tls.Config{
		ServerName: name, NextProtos: []string{ALPN}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // it signs itself, and what it has to say is checked below
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol != ALPN {
		return noALPN
	}
	return checkAnswer(state.PeerCertificates[0], name, chal.KeyAuthorization)
}

// checkAnswer checks the certificate that answers for name, as a CA does.
func checkAnswer(cert *x509.Certificate, name, keyAuth string) error {
	if len(cert.DNSNames) != 1 || !strings.EqualFold(cert.DNSNames[0], name) || len(cert.IPAddresses) > 0 {
		return noValidation
	}
	sum := sha256.Sum256([]byte(keyAuth))
	for _, e := range cert.Extensions {
		if !e.Id.Equal(idACMEIdentifier) || !e.Critical {
			continue
		}
		var got []byte
		if rest, err := asn1.Unmarshal(e.Value, &got); err != nil || len(rest) > 0 || !bytes.Equal(got, sum[:]) {
			return otherOrder
		}
		return nil
	}
	return noValidation
}

// askHTTP looks for the answer to chal over conn (RFC 8555 section 8.3). It follows no
// redirect: a relay sends none for this path, and this device answers nowhere else.
func askHTTP(ctx context.Context, conn net.Conn, chal acme.Challenge) error {
	t := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+chal.Identifier.Value+challengePath+chal.Token, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return wrongAnswer(fmt.Sprintf("answers with HTTP %d", resp.StatusCode))
	}
	// White space behind it does no harm; more than that is something else.
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(chal.KeyAuthorization))+16))
	if err != nil {
		return err
	}
	if strings.TrimRight(string(body), "\r\n\t ") != chal.KeyAuthorization {
		return otherOrder
	}
	return nil
}

// An awayError is that of an address to which no connection came about.
type awayError struct{ err error }

// Error implements error.
func (e *awayError) Error() string { return e.err.Error() }

// Unwrap returns what went wrong.
func (e *awayError) Unwrap() error { return e.err }

// isAway reports whether err says that no connection came about.
func isAway(err error) bool { return errors.As(err, new(*awayError)) }

// isUnrouted reports whether err says that this machine has no way at all to such
// addresses, as one without IPv6 has none to those of IPv6. Others may have one.
func isUnrouted(err error) bool {
	var errno syscall.Errno
	if !isAway(err) || !errors.As(err, &errno) {
		return false
	}
	if runtime.GOOS == "windows" { // WSAEAFNOSUPPORT, WSAEADDRNOTAVAIL, WSAENETUNREACH
		return slices.Contains([]syscall.Errno{10047, 10049, 10051}, errno)
	}
	return slices.Contains([]syscall.Errno{syscall.EAFNOSUPPORT, syscall.EADDRNOTAVAIL, syscall.ENETUNREACH}, errno)
}

// whyNot is the error of an address in words that follow the address.
func whyNot(err error) string {
	var op *net.OpError
	var wrong wrongAnswer
	switch {
	case errors.As(err, &wrong):
		return wrong.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses connections"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &op) && op.Timeout():
		return "does not answer"
	case isAlert(err, alertUnrecognizedName):
		return "does not know the name: it may be a relay to which this device has no link"
	case isAlert(err, alertNoApplicationProtocol):
		return string(noALPN)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "ends the connection without an answer"
	}
	return "fails: " + oneLine(err.Error())
}

// isAlert reports whether a server has answered with an alert.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

// An outcome is how a rehearsal went, with an error or none for each address.
type outcome struct {
	addresses []netip.AddrPort
	errs      []error
}

// failed returns the addresses for whose sake the CA is not to be asked: those that
// answer wrongly, and those that do not answer where another one answers rightly.
func (o *outcome) failed() (list []FailedAddress) {
	if o == nil {
		return nil
	}
	some := slices.Contains(o.errs, nil)
	for n, err := range o.errs {
		if err != nil && (!isAway(err) || some && !isUnrouted(err)) {
			list = append(list, FailedAddress{o.addresses[n], whyNot(err)})
		}
	}
	return list
}

// unrehearsed returns why not every address was asked, or "".
func (o *outcome) unrehearsed() string {
	if slices.Contains(o.errs, nil) {
		for n, err := range o.errs {
			if isUnrouted(err) {
				return "this device has no way to " + o.addresses[n].Addr().String()
			}
		}
		return ""
	}
	return "this device cannot reach its own public address: " + o.addresses[0].String() + " " + whyNot(o.errs[0])
}

package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"keystay/internal/hint"
)

// Where no root was given, that of a private CA comes first; the intermediate
// comes after it.
func TestPrivateRootIsTheFirstHint(t *testing.T) {
	alone := &x509.Certificate{RawSubject: []byte("a"), RawIssuer: []byte("b")}
	err := &NoRelayError{Relay: "relay.test", Err: &tls.CertificateVerificationError{
		UnverifiedCertificates: []*x509.Certificate{alone}, Err: x509.UnknownAuthorityError{Cert: alone}}}
	got := err.Hints()
	if len(got) < 2 || !strings.Contains(got[0], "give its root with --relay-root FILE") || !strings.Contains(got[1], "without the intermediate") {
		t.Errorf("%q", got)
	}
}

// A name without an address is the relay's, or that of --relay-address.
func TestNameWithoutAddressIsNamed(t *testing.T) {
	for name, want := range map[string]string{
		"Relay.test.":    hint.RelayHasNoAddress.Do[0],
		"nohost.invalid": `the host "nohost.invalid" of --relay-address has no address: check it, or leave --relay-address out to look the relay's own name up`,
	} {
		err := &NoRelayError{Relay: "relay.test:8443", Err: errors.Join(&net.OpError{Op: "dial", Err: &net.DNSError{Name: name, IsNotFound: true}})}
		if got := err.Hints(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/proxydial"
)

// A Transport is a way to carry a link to a relay. The proof of identity is
// bound to the TLS connection in each of them.
type Transport string

const (
	// TransportAuto is TLS, or a WebSocket where something on the path breaks
	// that. What works is remembered.
	TransportAuto Transport = "auto"
	// TransportTLS is a TLS connection with an ALPN protocol of its own.
	TransportTLS Transport = "tls"
	// TransportWSS is a WebSocket, which looks like any other HTTPS.
	TransportWSS Transport = "wss"
)

// tryTLSAgain is how long only the WebSocket is tried to a relay that nothing
// else has reached.
const tryTLSAgain = 24 * time.Hour

const (
	transportFile = "transport" // in the state directory
	// maxTransportFile is the largest transport file that is read, in bytes.
	maxTransportFile = 16 << 10
	// saveBurst is how often the file is written at once, and then it is once in each
	// saveInterval: a relay may end TLS and WebSockets in turn.
	saveBurst    = 8
	saveInterval = 10 * time.Minute
)

// transports decides how to reach each relay, and remembers what worked: TLS
// for this run; a WebSocket, or a small ClientHello, for a day, over restarts
// too. What has worked is tried alone, so that a relay that is only slow or away is not asked twice as
// often; once that fails it is forgotten, and the next attempt tries both.
type transports struct {
	auto  bool
	only  Transport // the one to use, if not auto
	state *state

	forgets bool                                      // nothing is written down
	later   func(wait time.Duration, do func() error) // does something later, and when the device ends before, then

	mu     sync.Mutex
	worked map[string]worked // by relay
	saves  allowance
	saving bool // later
}

// A worked is what reached a relay last.
type worked struct {
	by      Transport // "" if it was not reached
	small   bool      // with a small ClientHello; if it was not reached, to try one
	untried bool      // TLS was not tried with a small ClientHello yet
	since   time.Time // when TLS with the usual ClientHello did not get through
}

// isUsual reports whether there is nothing to remember over a restart.
func (w worked) isUsual() bool { return w.by != TransportWSS && !w.small }

// A plan is what to try to reach a relay: transports, beginning with a small ClientHello or the usual one.
type plan struct {
	transports []Transport // in the order to try
	small      bool
}

// plan returns what to try to reach relay.
func (t *transports) plan(relay string) plan {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.worked[relay]
	if !w.isUsual() && !w.fresh() {
		w = worked{}
	}
	switch {
	case !t.auto:
		return plan{[]Transport{t.only}, w.small}
	case w.by == "" || w.untried:
		return plan{[]Transport{TransportTLS, TransportWSS}, w.small}
	}
	return plan{[]Transport{w.by}, w.small}
}

// knows reports whether relay was reached in this way before.
func (t *transports) knows(relay string, by Transport, small bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.worked[relay]
	return w.by == by && w.small == small
}

// how returns what has reached relay.
func (t *transports) how(relay string) (by Transport, small bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.worked[relay]
	return w.by, w.small
}

// smallWord ends the line of a relay that is reached with a small ClientHello.
const smallWord = "small"

// stored reports whether it is worth remembering over a restart.
func (w worked) stored() bool {
	return w.by == TransportWSS || w.by == TransportTLS && w.small
}

func (w worked) fresh() bool {
	age := time.Since(w.since)
	return age >= 0 && age < tryTLSAgain
}

// reached notes that relay was reached.
func (t *transports) reached(relay string, how worked) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.worked[relay]
	if w.by == how.by && w.small == how.small && w.untried == how.untried && (w.isUsual() || w.fresh()) {
		return nil
	}
	how.since = time.Now()
	return t.setLocked(relay, how)
}

// failed notes that relay was not reached by what had worked before, and
// whether to begin with a small ClientHello next time.
func (t *transports) failed(relay string, small bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.setLocked(relay, worked{small: small, since: time.Now()})
}

func (t *transports) setLocked(relay string, w worked) error {
	stored := t.worked[relay].stored() || w.stored()
	t.worked[relay] = w
	if !stored || !t.auto || t.forgets {
		return nil
	}
	return t.saveSoonLocked()
}

// saveSoonLocked writes down what is known, now or later.
func (t *transports) saveSoonLocked() error {
	if t.saving {
		return nil
	}
	wait := t.saves.take(saveBurst, saveInterval)
	if wait == 0 {
		return t.saveLocked()
	}
	t.saving = true
	t.later(wait, func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.saving = false
		t.saves.take(saveBurst, saveInterval)
		return t.saveLocked()
	})
	return nil
}

// init reads what earlier runs have noted. What cannot be read is not known.
func (t *transports) init(use Transport, s *state) {
	t.auto = use == TransportAuto || use == ""
	t.only, t.state = use, s
	t.worked = make(map[string]worked)
	for _, line := range t.state.lines(transportFile, maxTransportFile) {
		fields := strings.Fields(line) // relay, transport, time, and perhaps smallWord
		if len(fields) < 3 {
			continue
		}
		at, err := time.Parse(time.RFC3339, fields[2])
		w := worked{by: Transport(fields[1]), small: len(fields) > 3 && fields[3] == smallWord, since: at}
		if err == nil && w.stored() && w.fresh() && t.auto {
			t.worked[fields[0]] = w
		}
	}
}

func (t *transports) saveLocked() error {
	var b strings.Builder
	for _, relay := range slices.Sorted(maps.Keys(t.worked)) {
		w := t.worked[relay]
		if !w.stored() || !w.fresh() {
			continue
		}
		fmt.Fprint(&b, relay, " ", w.by, " ", w.since.UTC().Format(time.RFC3339))
		if w.small {
			fmt.Fprint(&b, " ", smallWord)
		}
		fmt.Fprintln(&b)
	}
	return t.state.write(transportFile, []byte(b.String()))
}

// isDial reports whether no connection came about. A reset is none of these: the
// system reports one right after the connection was made as an error of the dial.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, syscall.ECONNRESET)
}

// blocked reports whether err may be the doing of something on the path that
// another transport does not meet. A relay or proxy that takes no connection is
// no such reason, nor a certificate that does not verify or a proof that fails:
// there, something ends TLS, and it would again. Nor is what the device itself decides.
func blocked(err error) bool {
	var proxy *proxydial.Error
	var untrusted *tls.CertificateVerificationError
	var refusal *framing.Refusal
	switch {
	case errors.As(err, &proxy), isDial(err),
		errors.As(err, &untrusted), errors.As(err, &refusal),
		errors.Is(err, framing.ErrProtocol), errors.Is(err, context.Canceled):
		return false
	case isAlert(err, alertUnrecognizedName), errors.Is(err, errNoCertificate):
		return false // the relay's own word
	case errors.Is(err, errOlder), errors.Is(err, errNodeAtPort), errors.Is(err, errNoChoice):
		return false // the device's own
	}
	return true
}

// A blockedError says that no transport gets through to a relay.
type blockedError struct{ tls, wss error }

func (e *blockedError) Error() string {
	return fmt.Sprintf("over TLS: %v; over a WebSocket: %v", e.tls, e.wss)
}

// Unwrap returns what happened to each.
func (e *blockedError) Unwrap() []error { return []error{e.tls, e.wss} }

// Hints says what to do, in one line each.
func (e *blockedError) Hints() []string {
	var notTLS tls.RecordHeaderError
	var through *throughProxyError
	if errors.Is(e, errNotRelay) || !blocked(e.wss) || errors.As(e.wss, &notTLS) || errors.As(e, &through) {
		return nil // the path is not what is wrong
	}
	return hint.PathBreaks.Do
}

// issuedBy names who issued a certificate that is not trusted: often that is
// all it takes to see what ends TLS on the path.
func issuedBy(err error) error {
	var failed *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &failed) || !errors.As(err, &unknown) || len(failed.UnverifiedCertificates) == 0 {
		return err
	}
	return fmt.Errorf("its certificate was issued by %q: %w", issuer(failed.UnverifiedCertificates[0]), err)
}

// issuer returns a name of who has issued a certificate, for people.
func issuer(cert *x509.Certificate) string {
	name := cert.Issuer.CommonName
	if name == "" && len(cert.Issuer.Organization) > 0 {
		name = cert.Issuer.Organization[0]
	}
	return name[:min(len(name), maxIssuer)]
}

// maxIssuer is how much of an issuer's name is shown, in bytes.
const maxIssuer = 80

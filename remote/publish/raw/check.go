package raw

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/internal/socket"
)

const (
	// watchFirst is how long after a failure Watch dials the service again; each
	// further wait is twice as long, up to watchMost.
	watchFirst = time.Second
	watchMost  = 15 * time.Second
)

// Check looks whether the service can be reached: it dials, and closes the
// connection without a byte but for a PROXY header that says that it is none of a
// visitor. With a service that ends TLS itself it does the handshake, and asks for
// the public name; the certificate is left for visitors to look at. The error says
// why not, in words for people, and has hints.
func (t *Target) Check(ctx context.Context) error {
	_, err := t.look(ctx)
	return err
}

// look is Check, and returns the service's own certificate as far as it is known.
func (t *Target) look(ctx context.Context) (*x509.Certificate, error) {
	header, err := t.ownHeader()
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, header)
	if err != nil {
		t.noTLS.Store(false)
		return nil, t.fault(err)
	}
	defer c.Close()
	if !t.TLS {
		return nil, nil
	}
	cert, err := t.greet(ctx, c)
	t.noTLS.Store(err != nil)
	return cert, err
}

// greet says hello to a service in TLS, and looks whether that is what it speaks. One
// that refuses the handshake with an alert speaks it: it may want a certificate of its
// visitors, or another protocol.
func (t *Target) greet(ctx context.Context, c net.Conn) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	config := &tls.Config{ServerName: t.Name, InsecureSkipVerify: true} // nothing is sent over it
	tc := tls.Client(c, config)
	err := tc.HandshakeContext(ctx)
	var alert *net.OpError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.As(err, &alert) && alert.Op == "remote error":
		if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
			return certs[0], nil
		}
		return nil, nil
	case errors.As(err, &record):
		return nil, hint.ServiceIsPlain.Error(errors.New("it does not speak TLS there"), "HOST", t.host())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, hint.ServiceHandshake.Error(fmt.Errorf("TLS handshake: not done after %v", DialTimeout))
	}
	return nil, hint.ServiceHandshake.Error(errors.New("TLS handshake: it has ended the connection"))
}

// tellKey says whose key visitors of a service see that ends TLS itself, and what of
// its certificate they will not like. Whether they trust its CA only they know.
func (t *Target) tellKey(cert *x509.Certificate) {
	if cert == nil {
		return
	}
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	t.log().Info("visitors see the key of the local service, which ends their TLS", "local", t.String(),
		"key", hex.EncodeToString(key[:]), "not_after", cert.NotAfter.UTC().Format(time.RFC3339))
	err := cert.VerifyHostname(t.Name)
	if time.Now().After(cert.NotAfter) {
		err = errors.New("it has expired")
	}
	if err != nil && t.Name != "" {
		t.log().Warn("visitors will refuse the local service's certificate", "local", t.String(), "err", plain.Text(err.Error()),
			hint.Attr(hint.ServiceCertificate.With("NAME", t.Name, "HOST", t.host())))
	}
}

// host is the service's first address.
func (t *Target) host() string {
	if len(t.Addresses) == 0 {
		return ""
	}
	return t.Addresses[0]
}

// Watch looks whether the service can be reached, as Check does, and logs when it
// cannot, and when it can again: at once, and later when visitors have been
// refused. Of one that ends TLS itself it also says whose key visitors see. It
// returns when ctx ends.
func (t *Target) Watch(ctx context.Context) {
	begins := t.silence.Begins()
	wait := watchFirst
	var told *x509.Certificate
	for {
		cert, err := t.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			t.answers()
			if !cert.Equal(told) {
				t.tellKey(cert)
				told = cert
			}
			wait = watchFirst
			select {
			case <-begins:
			case <-ctx.Done():
				return
			}
		default:
			t.tell(err, 0)
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		wait = min(2*wait, watchMost)
	}
}

// fault says why the service was not reached, for people.
func (t *Target) fault(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	text := op.Err
	var dns *net.DNSError
	advice := hint.ServiceStopped
	switch {
	case op.Op != "dial":
		return hint.ServiceStopped.Error(text)
	case op.Timeout():
		text, advice = fmt.Errorf("it has not answered for %v: %w", DialTimeout, os.ErrDeadlineExceeded), hint.ServiceSilent
	case errors.As(op, &dns):
		advice = hint.ServiceUnknownHost
	case t.Network == "unix" && errors.Is(op, fs.ErrNotExist):
		advice = hint.ServiceNoSocket
	case t.Network == "unix" && errors.Is(op, fs.ErrPermission):
		advice = hint.ServiceSocketClosed
	}
	return advice.Error(text)
}

// note tells the log of a visitor who was refused for the service's fault.
func (t *Target) note(err error) { t.tell(t.fault(err), 1) }

// tell logs that the service does not answer, unless it was told a short while ago.
func (t *Target) tell(err error, visitors int) {
	if tell, all := t.silence.Failed(visitors); tell {
		t.log().Warn("the local service does not answer", "local", t.String(), "err", err, "visitors", all, hint.Attr(hint.All(err)))
	}
}

// answers notes that the service can be reached.
func (t *Target) answers() {
	if lasted, all, told := t.silence.Ends(); told {
		t.log().Info("the local service answers again", "local", t.String(), "after", lasted.Round(time.Millisecond), "visitors", all)
	}
}

// tellCrowd says that there are too many visitors.
func (t *Target) tellCrowd(most int) {
	if tell, all := t.crowd.Failed(1); tell {
		t.log().Warn("too many visitors at once: new ones are refused", "local", t.String(), "most", most, "refused", all, hint.Attr(hint.TooManyVisitors.Do))
	}
}

const (
	// restTime and restBytes are how long, and for how much, a visitor is heard
	// that gets an alert: a connection that is closed with bytes unread is reset,
	// and the reset may overtake the alert.
	restTime  = time.Second
	restBytes = 64 << 10
)

// internalError is the alert internal_error as a record (RFC 8446, sections 5.1 and
// 6.2).
var internalError = []byte{21, 3, 3, 0, 2, 2, 80}

// refuse ends a visitor whom the service did not take. Where it would have ended
// TLS the visitor still waits for its handshake, and gets the alert
// internal_error. Behind a handshake a reset is all that says it.
func (t *Target) refuse(c duplex.Conn) {
	if !t.TLS {
		socket.Abort(c)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(restTime))
	if _, err := c.Write(internalError); err != nil {
		return
	}
	if err := c.CloseWrite(); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c, restBytes)
}

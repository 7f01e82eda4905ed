package sni

import "errors"

// A violation is an ErrMalformed, with what a TLS server answers to it.
type violation struct {
	text  string
	alert Alert
}

func (v *violation) Error() string { return ErrMalformed.Error() + ": " + v.text }

// Unwrap makes it an ErrMalformed.
func (v *violation) Unwrap() error { return ErrMalformed }

var (
	errDecode     = &violation{"it does not parse", AlertDecodeError}
	errUnexpected = &violation{"another record or message", AlertUnexpectedMessage}
	errOverflow   = &violation{"a record that is too long", AlertRecordOverflow}
	errVersion    = &violation{"no version of TLS", AlertProtocolVersion}
	errPeerEnded  = &violation{"the peer has ended the connection", 0}
)

// AlertFor returns the alert that answers an error of Read or Parse. It is that of
// crypto/tls, with two exceptions: a record of another type, or version, within a
// hello is answered too, where crypto/tls only closes; and a message of another
// type is answered when its header is there, with unexpected_message, whatever it
// holds. There is none for a peer that does not speak TLS, one that has ended the
// connection itself, and one whose hello did not come in time.
func AlertFor(err error) (alert Alert, ok bool) {
	var v *violation
	switch {
	case errors.As(err, &v):
		return v.alert, v.alert != 0
	case errors.Is(err, ErrTooLarge):
		return AlertInternalError, true // as for a message beyond crypto/tls's own limit
	}
	return 0, false
}

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// The usual ClientHello has some 1,500 bytes, most of them a key share of
// ML-KEM, and so does not fit into one packet everywhere. There are middleboxes
// that lose, or answer with a reset, what they expect in one packet and does not
// come in one. So after a hello that was lost a small one is tried, which has a
// third of the size. It forgoes protection against a quantum computer of later
// times for the link; what visitors and the device say to each other inside it
// has a key exchange of its own.

// curves are the key exchanges that a hello offers; nil is crypto/tls's choice.
func curves(small bool) []tls.CurveID {
	if small {
		return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	return nil
}

// A lostHelloError is the error of a handshake in which the other side has said
// nothing: there was no answer in time, or the connection ended.
type lostHelloError struct{ err error }

func (e *lostHelloError) Error() string {
	if errors.Is(e.err, io.EOF) {
		return "it closed the connection instead of an answer to the TLS handshake"
	}
	return e.err.Error()
}

// Unwrap returns how the connection ended.
func (e *lostHelloError) Unwrap() error { return e.err }

func isLostHello(err error) bool {
	var lost *lostHelloError
	return errors.As(err, &lost)
}

// isSilence reports whether err is a time that is over, or the end of a
// connection, and not something that the other side has said.
func isSilence(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

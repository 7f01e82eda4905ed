package publish

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
)

// failed answers a request that the local service has not answered.
func (t *Target) failed(logger *slog.Logger) func(http.ResponseWriter, *http.Request, error) {
	return func(w http.ResponseWriter, r *http.Request, err error) {
		body, _ := r.Context().Value(bodyKey{}).(*visitorBody)
		if body != nil && body.malformed.Load() {
			body.x.refuseRest(malformed("Its body is not chunked as HTTP/1.1 asks."))
			return
		}
		if r.Context().Err() != nil || body != nil && body.failed.Load() { // the visitor has gone
			panic(http.ErrAbortHandler)
		}
		logger.Warn("the local service does not answer", "local", t.URL.String(), "err", localError(err))
		http.Error(w, unavailable, http.StatusBadGateway)
	}
}

// unavailable is the page of a local service that is down. It does not say
// where the service is: visitors need not know.
const unavailable = `502 Bad Gateway

The device is connected, but the local service behind this name does not answer.
If this is your device: start the service, or check the --local of the remote.`

// localError is what of an error may be logged: the local service's answer may
// repeat what the visitor sent, and an error may quote the answer.
func localError(err error) error {
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op):
		return op.Err
	case errors.As(err, &cert):
		return cert
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ended the connection without an answer")
	}
	return errors.New("what it answers is not HTTP")
}

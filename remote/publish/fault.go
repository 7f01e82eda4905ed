package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/http2"

	"keystay/internal/hint"
)

// A fault is what is wrong with the local service, for people. Its text repeats
// nothing that the service or a visitor has sent.
type fault struct {
	text   string
	hints  []string
	away   bool // it cannot be reached, and Check notices when it can
	broken bool // what it answers is not HTTP
	late   bool // its answer has not begun in time
	guess  bool // it may speak something else: see diagnose
}

// Error implements error.
func (f *fault) Error() string { return f.text }

// Hints says what to do.
func (f *fault) Hints() []string { return f.hints }

// fault says what has failed before the head of an answer was there.
func (s *service) fault(err error) *fault {
	var shake *handshakeError
	var op *net.OpError
	switch {
	case errors.Is(err, errNoAddress):
		return &fault{text: err.Error(), away: true}
	case errors.As(err, &shake):
		return s.unshaken(shake.err)
	case errors.As(err, &op) && op.Op == "dial":
		return s.undialled(op)
	case s.isLate(err):
		return &fault{text: fmt.Sprintf("its answer has not begun after %v", s.answer), late: true, hints: hint.ServiceLate.With()}
	case errors.Is(err, errStatus), errors.Is(err, errSwitch), errors.Is(err, errAccept), errors.Is(err, errLongHead):
		return s.broke(unwrapped(err))
	}
	if rule := brokenRule(err); rule != "" {
		f := s.broke(rule)
		f.guess = true
		if rule == looksLikeHTTP1 {
			f.hints = s.do(hint.ServiceIsNotH2C)
		}
		return f
	}
	advice := hint.ServiceBroken
	if s.URL.Scheme == "http" && hangsUp(err) {
		advice = hint.ServiceHangsUp
	}
	return &fault{text: ending(err), hints: s.do(advice), guess: true}
}

// hangsUp reports whether the service has ended the connection without a word.
func hangsUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isLate reports whether the head of an answer has not come within Route's
// AnswerTimeout.
func (s *service) isLate(err error) bool {
	var timeout net.Error
	var op *net.OpError // of a connection, such as one that has died
	return s.answer > 0 && errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, &op)
}

// middle says why an answer has ended in the middle. C is the connection that it
// came over, if that is one of HTTP/1.
func (t *Target) middle(err error, c *answerConn) *fault {
	rule := brokenRule(err)
	if rule == badTrailer && c != nil && c.cutInTrailer() { // which net/http takes for too long a trailer
		rule, err = "", io.ErrUnexpectedEOF
	}
	if rule != "" {
		return t.broke(rule)
	}
	return t.broke("its answer ends in the middle: " + ending(err))
}

func (t *Target) broke(text string) *fault {
	return &fault{text: text, broken: true, hints: t.do(hint.ServiceBroken)}
}

func (t *Target) do(a *hint.Advice) []string { return a.With("HOST", t.URL.Host) }

// undialled is for a service that nobody has reached.
func (s *service) undialled(op *net.OpError) *fault {
	f := &fault{text: op.Err.Error(), away: true}
	var dns *net.DNSError
	switch {
	case op.Timeout():
		f.text, f.hints = fmt.Sprintf("it has not answered for %v", s.connect), s.do(hint.ServiceSilent)
	case errors.As(op, &dns):
		f.hints = s.do(hint.ServiceUnknownHost)
	case s.Network == "unix" && errors.Is(op, fs.ErrNotExist):
		f.hints = s.do(hint.ServiceNoSocket)
	case s.Network == "unix" && errors.Is(op, fs.ErrPermission):
		f.hints = s.do(hint.ServiceSocketClosed)
	case s.Network == "unix" && op.Addr != nil && !isSocket(op.Addr.String()):
		f.text, f.hints = "it is no socket", s.do(hint.ServiceNotSocket)
	case s.Network == "unix": // its server is gone, and it has no port
		f.hints = s.do(hint.ServiceNoSocket)
	default:
		f.hints = s.do(hint.ServiceStopped)
	}
	return f
}

// unshaken is for an https service whose handshake has failed.
func (s *service) unshaken(err error) *fault {
	f := &fault{text: "TLS handshake: " + ending(err), away: true, hints: s.do(hint.ServiceHandshake)}
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &cert):
		f.text, f.hints = "its certificate is not trusted: "+cert.Err.Error(), s.do(hint.ServiceUntrusted)
	case errors.As(err, &record) && protocolOf(record.RecordHeader[:]) != "":
		f.text, f.hints = "it speaks "+protocolOf(record.RecordHeader[:])+" there", s.do(hint.ServiceOther)
	case errors.As(err, &record):
		f.text, f.hints = "it does not speak TLS there", s.do(hint.ServiceIsPlain)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		f.text = fmt.Sprintf("TLS handshake: not done after %v", s.connect)
	case errors.As(err, &op) && op.Op == "remote error":
		f.text = "TLS handshake: it answers with the alert " + op.Err.Error()
	}
	return f
}

// endedByPeer reports whether the service has ended a TLS handshake, as for a
// server name that it does not know.
func endedByPeer(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" || hangsUp(err)
}

// ending says how a connection has ended, as far as the error tells.
func ending(err error) string {
	var reset http2.StreamError
	var op *net.OpError
	switch {
	case errors.As(err, &reset):
		return "it has reset the HTTP/2 stream with " + reset.Code.String()
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it has reset the connection"
	case errors.Is(err, errBodyGone):
		return "it has ended the connection while a body of more than 64 KiB was sent, which is not sent again"
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it has ended the connection"
	}
	for _, e := range endings {
		if said(err, e.text) {
			return e.means
		}
	}
	return "the connection has failed"
}

// brokenRule names the rule of HTTP that an answer has broken, or returns "".
func brokenRule(err error) string {
	var line textproto.ProtocolError
	var reset http2.StreamError
	switch {
	case errors.As(err, &reset) && reset.Cause != nil && !said(reset.Cause, fromPeer):
		if rule := brokenRule(reset.Cause); rule != "" {
			return rule
		}
		return "its answer is malformed (RFC 9113, section 8.1.1)"
	case errors.As(err, &line):
		return "a line of its answer's head is no header: it has no colon, or a wrong name (RFC 9112, section 5)"
	case errors.Is(err, http.ErrLineTooLong):
		return "a line of its chunks is too long (RFC 9112, section 7.1)"
	}
	for _, r := range rules {
		if said(err, r.text) {
			return r.means
		}
	}
	return ""
}

// said reports whether err, or what it wraps, begins with text.
func said(err error, text string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.HasPrefix(err.Error(), text) {
			return true
		}
	}
	return false
}

// unwrapped is the text of the innermost error.
func unwrapped(err error) string {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err.Error()
}

// A meaning is what an error of package net/http means whose text is all that
// tells it from others. A test makes each of these errors with the real
// package, so that a change of its texts is seen.
type meaning struct{ text, means string }

const (
	badChunk       = "a chunk of its answer is malformed (RFC 9112, section 7.1)"
	badTrailer     = "the trailer of its answer is malformed (RFC 9112, section 7.1.2)"
	badLength      = "Content-Length of its answer is no number (RFC 9110, section 8.6)"
	badEncoding    = "Transfer-Encoding of its answer is not chunked alone (RFC 9112, section 6.1)"
	fromPeer       = "received from peer" // the cause of a reset that the service has sent
	looksLikeHTTP1 = "it does not speak HTTP/2 without TLS"
)

var rules = []meaning{
	{"malformed HTTP response", "the first line of its answer is no status line (RFC 9112, section 4)"},
	{"malformed HTTP status code", "the status code of its answer is not three digits (RFC 9112, section 4)"},
	{"malformed HTTP version", "the first line of its answer does not begin with a version of HTTP (RFC 9112, section 2.3)"},
	{"malformed MIME header", "a line of its answer's head is no header: it has no colon, or a wrong name (RFC 9112, section 5)"},
	{"http: message cannot contain multiple Content-Length headers", "its answer has several Content-Length that differ (RFC 9112, section 6.3)"},
	{"bad Content-Length", badLength},
	{"invalid empty Content-Length", badLength},
	{"unsupported transfer encoding", badEncoding},
	{"too many transfer encodings", badEncoding},
	{"bad trailer key", "its answer announces a trailer that may not be one (RFC 9110, section 6.5.1)"},
	{"net/http: server response headers exceeded", "the head of its answer is longer than 10 MiB"},
	{"malformed chunked encoding", badChunk},
	{"chunked encoding contains too much non-data", badChunk},
	{"chunked line ends with bare LF", badChunk},
	{"invalid CR in chunked line", badChunk},
	{"empty hex number for chunk length", badChunk},
	{"invalid byte in chunk length", badChunk},
	{"http chunk length too large", badChunk},
	{"http: unexpected EOF reading trailer", badTrailer},
	{"http: suspiciously long trailer after chunked body", badTrailer},
	{"http2: frame too large, note that the frame header looked like an HTTP/1.1 header", looksLikeHTTP1},
	{"http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header", looksLikeHTTP1},
	{"malformed response from server", "the head of its answer is malformed (RFC 9113, section 8.3.2)"},
	{"http2: server sent more", "its answer is longer than it has said (RFC 9113, section 8.1.1)"},
}

var endings = []meaning{
	{"http2: server sent GOAWAY and closed the connection", "it has ended the HTTP/2 connection with GOAWAY"},
	{"http2: client connection lost", "it has ended the HTTP/2 connection"},
	{"http2: client conn", "it has ended the HTTP/2 connection"},
	{"http2: Transport: cannot retry err", "it has ended the HTTP/2 connection while a body was sent that is not kept for another try"},
	{"http: server closed idle connection", "it has ended the connection as the request was sent"},
	{"connection error: ", "it has broken a rule of HTTP/2 (RFC 9113, section 5.4.1)"},
}

// isSocket reports whether a unix socket lies at path, or what does cannot be
// seen.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Type() == fs.ModeSocket
}

package publish

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/hint"
)

// probeTimeout is how long a service that has not answered with HTTP has to
// show what else it speaks.
const probeTimeout = 2 * time.Second

// openingSize is how much of what a connection begins with tells protocols
// apart: as much as package crypto/tls tells of an answer that is not TLS.
const openingSize = 5

// protocolOf names what a service speaks that says this first, or to a request
// of HTTP or a hello of TLS. It returns "" for HTTP and for what it does not know.
func protocolOf(opening []byte) string {
	for _, p := range []struct{ begins, name string }{
		{"SSH-", "SSH"},
		{"220 ", "SMTP or FTP"},
		{"220-", "SMTP or FTP"},
		{"* OK", "IMAP"},
		{"+OK", "POP3"},
		{"RFB ", "VNC"},
		{"RTSP/", "RTSP"},
		{"-ERR ", "Redis"},
		{"ERROR", "memcached"},
		{"INFO ", "NATS"},
		{"AMQP", "AMQP"},
		{"\xff\xfb", "Telnet"},
		{"\xff\xfd", "Telnet"},
	} {
		if strings.HasPrefix(string(opening), p.begins) {
			return p.name
		}
	}
	if len(opening) == openingSize && opening[3] == 0 && (opening[4] == 10 || opening[4] == 0xff) {
		return "MySQL" // a packet with the number 0: version 10 of the protocol, or an error
	}
	return ""
}

// isTLS reports whether this is the beginning of an alert or a handshake.
func isTLS(opening []byte) bool {
	return len(opening) > 1 && (opening[0] == 21 || opening[0] == 22) && opening[1] == 3
}

// begun says more of a fault by what has come over the connection.
func (t *Target) begun(c *answerConn, f *fault) *fault {
	opening, cut := c.heard()
	name := protocolOf(opening)
	switch {
	case name != "":
		return t.speaks(name)
	case isTLS(opening) && t.URL.Scheme == "http":
		return t.speaksTLS()
	case cut && strings.HasPrefix("HTTP/", string(opening)):
		return t.broke("the head of its answer ends in the middle: " + ending(io.EOF))
	}
	return f
}

// speaks is for a service that speaks a protocol that cannot be published.
func (t *Target) speaks(protocol string) *fault {
	return &fault{text: "it speaks " + protocol + " there", broken: true, hints: t.do(hint.ServiceOther)}
}

func (t *Target) speaksTLS() *fault {
	return &fault{text: "it speaks TLS there", broken: true, hints: t.do(hint.ServiceIsTLS)}
}

// diagnose looks what a service speaks that has not answered a request over
// HTTP as it should: TLS, another protocol, HTTP/2 alone where it was asked over
// HTTP/1.1, or not even that where it was asked over HTTP/2. It says hello in
// these, which is no request. It returns f if it has found nothing.
func (s *service) diagnose(ctx context.Context, f *fault) *fault {
	if s.URL.Scheme != "http" {
		return f
	}
	name := probe(ctx, s, answerToTLS)
	if name == "" {
		name = probe(ctx, s, answerToHTTP2)
	}
	switch {
	case name == "TLS":
		return s.speaksTLS()
	case name != "" && name != "HTTP/2":
		return s.speaks(name)
	case (name == "HTTP/2") == s.H2C:
		return f
	case s.H2C:
		return &fault{text: looksLikeHTTP1, broken: true, hints: s.do(hint.ServiceIsNotH2C)}
	}
	return &fault{text: "it speaks HTTP/2 alone there", broken: true, hints: s.do(hint.ServiceIsH2C)}
}

// probe returns what speaks finds out over a new connection.
func probe[T any](ctx context.Context, s *service, speaks func(context.Context, net.Conn) T) (found T) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return found
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return speaks(ctx, c)
}

// answerToTLS names what is spoken at the other end of c by its answer to a
// hello of TLS: TLS, or what protocolOf knows.
func answerToTLS(ctx context.Context, c net.Conn) string {
	config := &tls.Config{InsecureSkipVerify: true} // nothing is sent over it
	err := tls.Client(c, config).HandshakeContext(ctx)
	var alert *net.OpError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.As(err, &alert) && alert.Op == "remote error":
		return "TLS"
	case errors.As(err, &record):
		return protocolOf(record.RecordHeader[:])
	}
	return ""
}

// answerToHTTP2 names what is spoken at the other end of c by its answer to the
// preface of HTTP/2: HTTP/2, which begins with SETTINGS (RFC 9113, section 3.4), or
// what protocolOf knows. Redis answers the preface, and hangs up at a request.
func answerToHTTP2(_ context.Context, c net.Conn) string {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return ""
	}
	answer := bufio.NewReader(c)
	framer := http2.NewFramer(c, answer)
	if err := framer.WriteSettings(); err != nil {
		return ""
	}
	opening, err := answer.Peek(openingSize)
	if err != nil {
		return ""
	}
	if name := protocolOf(opening); name != "" {
		return name
	}
	if f, err := framer.ReadFrame(); err == nil && f.Header().Type == http2.FrameSettings {
		return "HTTP/2"
	}
	return ""
}

package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/hint"
)

// probeTimeout is how long a service that has not answered with HTTP has to
// show what else it speaks.
const probeTimeout = 2 * time.Second

// diagnose looks whether a service that has not answered a request over
// HTTP/1.1 speaks TLS or HTTP/2 alone, and whether one that has not answered over
// HTTP/2 speaks that at all. It says hello in these, which is no request. It
// returns f if it has found nothing.
func (t *Target) diagnose(ctx context.Context, f *fault) *fault {
	switch {
	case t.URL.Scheme != "http":
	case t.H2C:
		if !t.probe(ctx, speaksHTTP2) {
			return &fault{text: looksLikeHTTP1, broken: true, hints: t.do(hint.ServiceIsNotH2C)}
		}
	case t.probe(ctx, speaksTLS):
		return &fault{text: "it speaks TLS there", broken: f.broken, hints: t.do(hint.ServiceIsTLS)}
	case t.probe(ctx, speaksHTTP2):
		return &fault{text: "it speaks HTTP/2 alone there", broken: f.broken, hints: t.do(hint.ServiceIsH2C)}
	}
	return f
}

// probe asks a new connection.
func (t *Target) probe(ctx context.Context, speaks func(context.Context, net.Conn) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := t.dial(ctx)
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return speaks(ctx, c)
}

// speaksTLS reports whether what is at the other end of c does.
func speaksTLS(ctx context.Context, c net.Conn) bool {
	config := &tls.Config{InsecureSkipVerify: true} // nothing is sent over it
	err := tls.Client(c, config).HandshakeContext(ctx)
	var alert *net.OpError
	return err == nil || errors.As(err, &alert) && alert.Op == "remote error"
}

// speaksHTTP2 reports whether what is at the other end of c begins with SETTINGS
// (RFC 9113, section 3.4).
func speaksHTTP2(_ context.Context, c net.Conn) bool {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return false
	}
	framer := http2.NewFramer(c, c)
	if err := framer.WriteSettings(); err != nil {
		return false
	}
	f, err := framer.ReadFrame()
	_, settings := f.(*http2.SettingsFrame)
	return err == nil && settings
}

package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
)

const (
	// localDialTimeout is how long the local service may take to answer a dial.
	localDialTimeout = 10 * time.Second
	// halfCloseGrace is how long an HTTP/1 visitor that has ended its side is
	// still answered.
	halfCloseGrace = time.Minute
)

// A Target is the local service that visitors are handed on to.
type Target struct {
	// URL has the scheme, http or https, and the host that an https service's
	// certificate is checked against.
	URL *url.URL

	// Network is "tcp" or "unix", and Addresses what to dial, in order.
	Network   string
	Addresses []string

	// Insecure leaves an https service's certificate unchecked.
	Insecure bool

	// Logger hears when the local service does not answer; nil discards.
	Logger *slog.Logger
}

// Server returns an HTTP server that hands the visitors of domain on to the
// target. Serve it on a Listener. Requests for another host get 421.
//
// The visitor's Host is kept. X-Forwarded-For, -Proto and -Host and Forwarded
// (RFC 7239) tell the visitor's address, scheme and host; whatever the visitor
// sent of them, and X-Real-Ip, is dropped.
func (t *Target) Server(domain string) *http.Server {
	logger := t.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        t.rewrite,
		Transport:      t.transport(),
		ModifyResponse: switchProtocols,
		FlushInterval:  -1, // each piece goes out at once: SSE, long polls
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			body, _ := r.Context().Value(bodyKey{}).(*visitorBody)
			if r.Context().Err() != nil || body != nil && body.failed.Load() { // the visitor has gone
				panic(http.ErrAbortHandler)
			}
			logger.Warn("the local service does not answer", "local", t.URL.String(), "err", localError(err))
			http.Error(w, unavailable, http.StatusBadGateway)
		},
	}
	return &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(proxy, domain, w, r) }),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		// Its lines carry visitors' addresses, and what they sent.
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
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

// A visitorBody knows whether reading it has failed: then the visitor has gone,
// and the local service has done nothing wrong. It also stays at its end: the
// transport reads once more behind it, and if the answer has begun by then,
// net/http's server has closed the body, and that would break the answer off.
type visitorBody struct {
	io.ReadCloser
	ended   bool
	failed  atomic.Bool
	trailer http.Header // the request's
}

// Read implements io.Reader.
func (b *visitorBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended = true
		dropForwarded(b.trailer) // they are all there now, announced or not
	case err != nil:
		b.failed.Store(true)
	}
	return n, err
}

type bodyKey struct{}

type connKey struct{}

func serve(proxy http.Handler, domain string, w http.ResponseWriter, r *http.Request) {
	if status, text := sanitize(r, domain); status != 0 {
		http.Error(w, text, status)
		return
	}
	stream := streamOf(r)
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		// The answer was cut short. In HTTP/1 the end of the connection may be
		// all that says so: it must not look like a good one.
		if r.ProtoMajor == 1 && stream != nil {
			stream.Reset()
		}
		panic(v)
	}()
	if r.ProtoMajor == 1 {
		// A service may answer before it has read all of the body. Without this
		// net/http's server takes the rest of it for itself first.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	if r.ProtoMajor == 1 && stream != nil {
		ctx, cancel := halfCloseContext(r.Context(), stream)
		defer cancel()
		r = r.WithContext(ctx)
		if r.Header.Get("Upgrade") != "" {
			r = withUpgrade(r, stream)
		}
	}
	if r.Body != http.NoBody {
		body := &visitorBody{ReadCloser: r.Body, trailer: r.Trailer}
		r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, body))
		r.Body = body
	}
	proxy.ServeHTTP(w, r)
}

// streamOf returns the stream below the request's connection, or nil.
func streamOf(r *http.Request) *framing.Stream {
	tc, ok := r.Context().Value(connKey{}).(*tls.Conn)
	if !ok {
		return nil
	}
	in, _ := tc.NetConn().(tlsInput)
	return in.Stream
}

// halfCloseContext is a context that outlives the end of the visitor's side:
// whoever ends it after the request still wants the answer. net/http cannot
// tell that from a visitor who has left; so the answer gets halfCloseGrace, and
// a connection that broke none.
func halfCloseContext(parent context.Context, stream *framing.Stream) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var grace *time.Timer
	armed := make(chan struct{})
	stop := context.AfterFunc(parent, func() {
		defer close(armed)
		if stream.Broken() != nil {
			cancel()
			return
		}
		grace = time.AfterFunc(halfCloseGrace, cancel)
	})
	return ctx, func() {
		if !stop() {
			<-armed
			if grace != nil {
				grace.Stop()
			}
		}
		cancel()
	}
}

func (t *Target) rewrite(r *httputil.ProxyRequest) {
	h := r.Out.Header
	dropForwarded(h)
	r.SetURL(t.URL)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy takes out what it cannot parse
	r.Out.Host = r.In.Host
	dropForwarded(r.In.Trailer)  // so far there are names alone
	r.Out.Trailer = r.In.Trailer // filled in when the body has been read
	r.SetXForwarded()
	h.Set("Forwarded", forwarded(r.In))
}

// forwarded is the Forwarded header for a request (RFC 7239).
func forwarded(r *http.Request) string {
	node := "unknown"
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		node = ip
		if strings.Contains(ip, ":") {
			node = `"[` + ip + `]"`
		}
	}
	value := "for=" + node
	if r.Host != "" {
		value += `;host="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(r.Host) + `"`
	}
	return value + ";proto=https"
}

func (t *Target) transport() *http.Transport {
	return &http.Transport{
		DialContext:           t.dial,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: t.Insecure},
		TLSHandshakeTimeout:   localDialTimeout,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: 2 * time.Second,
		DisableCompression:    true, // what the visitor asked for is what it gets
	}
}

// dial reaches the local service at the first of its addresses that answers.
func (t *Target) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	d := net.Dialer{Timeout: localDialTimeout}
	var errs []error
	for _, a := range t.Addresses {
		c, err := d.DialContext(ctx, t.Network, a)
		if err == nil {
			return newLocalConn(c.(duplex.Conn)), nil // it is one of TCP or a unix socket
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, errors.New("the target has no address")
	}
	return nil, errors.Join(errs...)
}

// hostOnly is a Host header's name: in lower case, without port and last dot.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

package publish

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
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

// Server returns an HTTP server around Handler. Serve it on a listener whose
// connections are TLS, ended here.
func (t *Target) Server(domain string) *http.Server {
	return &http.Server{
		Handler:           t.Handler(domain),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		// Its lines carry visitors' addresses, and what they sent.
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: withConn,
	}
}

// Handler hands requests for domain on to the target. Those for another host
// get 421.
//
// The visitor's Host is kept. X-Forwarded-For, -Proto and -Host and Forwarded
// (RFC 7239) tell the visitor's address, scheme and host; whatever the visitor
// sent of them, and X-Real-Ip, is dropped.
func (t *Target) Handler(domain string) http.Handler {
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
		ErrorHandler:   t.failed(logger),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(proxy, domain, w, r) })
}

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

package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"keystay/internal/hint"
	"keystay/internal/proxydial"
)

const (
	// maxResponse is the largest answer of a CA that is read, in bytes. Real
	// ones, certificate chains included, stay below 20 KiB.
	maxResponse = 1 << 20

	// requestTimeout bounds one request to the CA, its answer included.
	requestTimeout = 30 * time.Second

	// dialTimeout bounds one connection attempt to the CA.
	dialTimeout = 10 * time.Second
)

// errResponseTooLarge ends the reading of an answer longer than maxResponse.
var errResponseTooLarge = errors.New("the CA's answer is too large")

// newHTTPClient returns the client for the CA's API. Whoever made it closes
// its idle connections.
func newHTTPClient(roots *x509.CertPool, proxy func(*http.Request) (*url.URL, error)) *http.Client {
	if proxy == nil {
		proxy = proxydial.FromEnvironment
	}
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &watcher{proxy: proxy, next: &http.Transport{
			Proxy:               proxy,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: dialTimeout,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
			OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
				if resp.StatusCode == http.StatusOK {
					return nil
				}
				return &proxyError{resp.StatusCode}
			},
		}},
	}
}

// A proxyError is a proxy that did not pass a connection to the CA on.
type proxyError struct{ status int }

// Error implements error.
func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy answers CONNECT with %d", e.status)
}

// advice says what to do.
func (e *proxyError) advice() *hint.Advice {
	switch {
	case e.status == http.StatusProxyAuthRequired:
		return hint.CAProxySignIn
	case e.status == http.StatusForbidden:
		return hint.CAProxyForbids
	case e.status >= 500 && e.status != http.StatusNotImplemented:
		return hint.CAProxyCannot
	case e.status >= 300 && e.status < 400:
		return hint.CAProxyPortal
	}
	return hint.CAProxyNone
}

// A notHTTPSError is a URL of the CA's directory, or of a redirect, that would
// be asked in the clear. RFC 8555 section 6.1 forbids it.
type notHTTPSError struct{ url string }

// Error implements error.
func (e *notHTTPSError) Error() string {
	return "the CA sends to " + e.url + ", which is not https"
}

// watcher bounds the CA's answers and notes what the ACME client does not pass
// on, such as when to come back. It lets nothing out but https.
type watcher struct {
	next  http.RoundTripper
	proxy func(*http.Request) (*url.URL, error) // that next asks; nil is none
}

// RoundTrip implements [http.RoundTripper].
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, &notHTTPSError{oneLine(r.URL.Redacted())}
	}
	a := attemptOf(r.Context())
	if a != nil {
		a.retryAfter, a.status = 0, 0
		a.atDirectory = r.Method == http.MethodGet // all else is HEAD or POST
	}
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, w.named(r, err)
	}
	if a != nil {
		a.status = resp.StatusCode
		switch {
		case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
			a.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
		case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed, resp.StatusCode == http.StatusGone:
			a.gone = !a.atDirectory
		}
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxResponse}
	return resp, nil
}

// named returns err with the proxy's name where the proxy is what has failed: nobody sees
// in a variable of the environment that it is meant for this.
func (w *watcher) named(r *http.Request, err error) error {
	var refused *proxyError
	var op *net.OpError
	if w.proxy == nil || !errors.As(err, &refused) && !(errors.As(err, &op) && (op.Op == "proxyconnect" || strings.HasPrefix(op.Op, "socks"))) {
		return err
	}
	u, perr := w.proxy(r)
	if perr != nil || u == nil {
		return err
	}
	return &namedProxyError{fmt.Sprintf("through the proxy %s: %v", proxydial.Named(u), err), proxydial.Variable(u), err}
}

// A namedProxyError is an error of a proxy that says which one.
type namedProxyError struct {
	text     string
	variable string // of the environment, that names the proxy; or empty
	err      error
}

// Error implements error.
func (e *namedProxyError) Error() string { return e.text }

// Unwrap returns the proxy's error.
func (e *namedProxyError) Unwrap() error { return e.err }

// CloseIdleConnections lets [http.Client.CloseIdleConnections] through.
func (w *watcher) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// parseRetryAfter returns how long a Retry-After header asks to wait from now
// on, in either of its forms (RFC 9110 section 10.2.3); 0 where it does not.
func parseRetryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// limitedBody fails, rather than ends, after left bytes.
type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements [io.Reader].
func (b *limitedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errResponseTooLarge
	}
	return n, err
}

// An attempt is what travels with the context of one order: what the issuer is
// asked for, and what was seen on the way.
type attempt struct {
	kind     string            // the kind of validation to use
	replaces *x509.Certificate // the certificate to name as replaced, or nil
	spoiled  *RehearsalError   // of the rehearsal by the other kind just now, or nil

	pressing    bool          // a rehearsal that fails stops nothing
	unrehearsed bool          // the rehearsal before the order was left out
	atDirectory bool          // the last request was for the directory
	status      int           // of the last answer, 0 for none
	retryAfter  time.Duration // what the last answer asks to wait, if it is a refusal
	gone        bool          // a URL that the directory names is not there
	binding     bool          // the last request bound an external account
	file        error         // of the folder, or nil
	err         error         // what the issuer returned
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// attemptOf returns the attempt that ctx belongs to, or nil.
func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

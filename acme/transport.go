package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
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
		proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &watcher{next: &http.Transport{
			Proxy:               proxy,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: dialTimeout,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}},
	}
}

// watcher bounds the CA's answers and notes what it says about when to come
// back, which the ACME client does not pass on.
type watcher struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if a := attemptOf(r.Context()); a != nil {
		a.retryAfter = 0
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
			a.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
		}
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxResponse}
	return resp, nil
}

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
// asked for, and what the CA said on the way.
type attempt struct {
	kind     string            // the kind of validation to use
	replaces *x509.Certificate // the certificate to name as replaced, or nil

	notArrived bool          // the validation did not get through to this device
	retryAfter time.Duration // what the last answer asks to wait, if it is a refusal
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

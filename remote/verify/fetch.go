package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"keystay/internal/proxydial"
	"keystay/internal/statement"
)

const (
	// dialTimeout and handshakeTimeout bound the way to the name, and answerTimeout the
	// head of its answer.
	dialTimeout, handshakeTimeout, answerTimeout = 10 * time.Second, 10 * time.Second, 10 * time.Second
	// maxHead is the longest head of an answer, in bytes.
	maxHead = 16 << 10
)

// fetch asks the name for its document, and returns it with the state of the connection
// that it came over. With an error the state is that of the last connection, or nil where
// there was none.
func (c *Config) fetch(ctx context.Context) (*tls.ConnectionState, []byte, error) {
	var mu sync.Mutex
	var seen *tls.ConnectionState
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return c.dial(ctx, address) },
		TLSClientConfig: &tls.Config{
			ServerName: c.Name,
			// The chain is verified by Report.leaf: a key that is foreign is to be told
			// as that, whatever its chain is.
			InsecureSkipVerify: true, //nolint:gosec // G402: see above
			VerifyConnection: func(cs tls.ConnectionState) error {
				mu.Lock()
				defer mu.Unlock()
				seen = &cs
				return nil
			},
		},
		TLSHandshakeTimeout: handshakeTimeout, ResponseHeaderTimeout: answerTimeout, MaxResponseHeaderBytes: maxHead,
		ForceAttemptHTTP2: true, DisableKeepAlives: true, DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	doc, state, err := c.ask(ctx, transport)
	if state == nil {
		mu.Lock()
		defer mu.Unlock()
		state = seen
	}
	if state != nil && len(state.PeerCertificates) == 0 { // crypto/tls has seen to that
		return nil, nil, errors.New("there is no certificate")
	}
	return state, doc, err
}

// dial connects to the name's address, or to Config.Address. It goes through the proxy by
// itself: http.Transport would not verify the proxy's certificate either.
func (c *Config) dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if c.Address != "" {
		return dialer.DialContext(ctx, "tcp", c.Address)
	}
	if c.Dial != nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return c.Dial(ctx, address)
	}
	if c.Proxy != nil {
		proxy, err := c.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: c.host()}})
		if err != nil {
			return nil, fmt.Errorf("choose a proxy: %w", err)
		}
		if proxy != nil {
			return (&proxydial.Proxy{URL: proxy}).Dial(ctx, address)
		}
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// ask puts the question.
func (c *Config) ask(ctx context.Context, transport *http.Transport) (doc []byte, state *tls.ConnectionState, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.host()+statement.Path, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", statement.ContentType)
	resp, err := transport.RoundTrip(req) // which follows no redirect, and keeps no cookie
	if err != nil {
		return nil, nil, fmt.Errorf("%s does not answer: %w", c.host(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.TLS, fmt.Errorf("the name has no document: it answers %s with %s", statement.Path, resp.Status)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != statement.ContentType {
		return nil, resp.TLS, fmt.Errorf("the name has no document: it answers %s with what is not %s", statement.Path, statement.ContentType)
	}
	doc, err = io.ReadAll(io.LimitReader(resp.Body, statement.MaxSize+1))
	if err != nil {
		return nil, resp.TLS, fmt.Errorf("the document breaks off: %w", err)
	}
	return doc, resp.TLS, nil
}

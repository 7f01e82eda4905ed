package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

const (
	// maxAnswer is the longest answer that is read, in bytes: that of a page of
	// maxPage entries is a part of it.
	maxAnswer = 64 << 20
	// takeoverWait is how long the client asks again while a new process takes over.
	takeoverWait = 10 * time.Second
	// clientTimeout is how long one answer may take.
	clientTimeout = requestTimeout + answerTimeout
)

// SocketPath is where the relay of a state directory answers the API.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, "api.sock") }

// A Client asks the relay that answers on a socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the relay that answers on the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{
		Timeout:   clientTimeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true},
	}}
}

// Get asks for path, with a query that may be nil, and decodes the answer into v.
// The error is an [*Error] where the relay has answered with one.
func (c *Client) Get(ctx context.Context, path string, q url.Values, v any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// Do sends body as JSON, and decodes the answer into v, which may be nil.
func (c *Client) Do(ctx context.Context, method, path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, method, path, b, v)
}

// do asks until the answer is not that a new process is taking over.
func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverWait+clientTimeout)
	defer cancel()
	for until := time.Now().Add(takeoverWait); ; {
		err := c.once(ctx, method, path, body, v)
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://relay"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address, which is made up
		}
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the relay's answer: %w", err)
	case len(b) > maxAnswer:
		return fmt.Errorf("the relay's answer is longer than %d bytes", maxAnswer)
	case res.StatusCode >= http.StatusBadRequest:
		var p Problem
		if json.Unmarshal(b, &p) != nil || p.Error == "" {
			p.Error = "the relay answers " + res.Status
		}
		return &Error{Status: res.StatusCode, Text: p.Error, Do: p.Hints}
	case v == nil:
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read the relay's answer: %w", err)
	}
	return nil
}

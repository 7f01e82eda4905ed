package main

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"

	"golang.org/x/net/http2"
)

// An overHTTP2 opens WebSockets with extended CONNECT (RFC 8441) for a program that
// speaks HTTP/1.1: its request with Upgrade becomes one, and the answer a switch.
type overHTTP2 struct{ http2.Transport }

// webSocketsOverHTTP2 returns a client whose requests are all for WebSockets.
func (v *visitor) webSocketsOverHTTP2() (*http.Client, error) {
	config, err := v.tls()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string, config *tls.Config) (net.Conn, error) {
		c, err := v.dial(ctx)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, config)
		return tc, tc.HandshakeContext(ctx)
	}
	return &http.Client{Transport: &overHTTP2{http2.Transport{TLSClientConfig: config, DialTLSContext: dial}}}, nil //nolint:staticcheck // net/http opens no extended CONNECT
}

// RoundTrip implements http.RoundTripper.
func (o *overHTTP2) RoundTrip(r *http.Request) (*http.Response, error) {
	key := r.Header.Get("Sec-Websocket-Key")
	up, down := io.Pipe()
	out := r.Clone(r.Context())
	out.Method, out.Body, out.ContentLength = http.MethodConnect, up, -1
	out.Header.Set(":protocol", "websocket")
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		out.Header.Del(name)
	}
	resp, err := o.Transport.RoundTrip(out) //nolint:staticcheck // likewise
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	resp.StatusCode = http.StatusSwitchingProtocols
	resp.Header.Set("Connection", "Upgrade")
	resp.Header.Set("Upgrade", "websocket")
	resp.Header.Set("Sec-Websocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	resp.Body = &socket{resp.Body, down}
	return resp, nil
}

// A socket is a WebSocket's stream.
type socket struct {
	io.ReadCloser
	up *io.PipeWriter
}

// Write sends.
func (s *socket) Write(p []byte) (int, error) { return s.up.Write(p) }

// Close ends both sides.
func (s *socket) Close() error {
	s.up.Close()
	return s.ReadCloser.Close()
}

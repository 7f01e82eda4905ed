package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"keystay/internal/duplex"
)

const (
	// localDialTimeout is how long the local service may take to answer a dial,
	// and then for its TLS handshake.
	localDialTimeout = 10 * time.Second
	// expectTimeout is how long a service may think about Expect: 100-continue.
	// Then the visitor is asked for its body: some services never say a word.
	expectTimeout = time.Second
)

func (t *Target) transport() *http.Transport {
	return &http.Transport{
		DialContext:           t.dialPlain,
		DialTLSContext:        t.dialTLS,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: expectTimeout,
		DisableCompression:    true, // what the visitor asked for is what it gets
	}
}

// dialPlain is dial for HTTP/1 without TLS.
func (t *Target) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := t.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &answerConn{Conn: c}, nil
}

// dialTLS is dial and then TLS, for HTTP/2 where the service has it.
func (t *Target) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := t.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, localDialTimeout)
	defer cancel()
	tc := tls.Client(c, &tls.Config{ServerName: t.URL.Hostname(), InsecureSkipVerify: t.Insecure, NextProtos: []string{"h2", "http/1.1"}})
	if err := tc.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol == "h2" {
		return tc, nil
	}
	return &answerConn{Conn: tc}, nil
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

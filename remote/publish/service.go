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

// localDialTimeout is how long the local service may take to answer a dial.
const localDialTimeout = 10 * time.Second

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

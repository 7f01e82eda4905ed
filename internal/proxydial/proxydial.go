// Package proxydial makes TCP connections through HTTP and SOCKS5 proxies.
package proxydial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Timeout is how long a proxy may take, from the look-up of its address to its
// answer.
const Timeout = 15 * time.Second

// A Proxy makes connections through the proxy at URL.
type Proxy struct {
	// URL is http://, https:// (the proxy itself is spoken to over TLS),
	// socks5:// or socks5h:// and the proxy's host. The default ports are 80,
	// 443 and 1080. Its user and password are sent to the proxy, and are in no
	// error.
	URL *url.URL

	// Roots are trusted for the certificate of an https:// proxy; nil means the
	// system's.
	Roots *x509.CertPool
}

// Dial connects to address, host:port. A host name is looked up by the proxy.
// The error is an *Error. The caller closes the connection.
func (p *Proxy) Dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conn, err := p.dial(ctx, address)
	if err == nil {
		return conn, nil
	}
	e, ok := err.(*Error)
	if !ok {
		e = &Error{Err: err}
	}
	e.signed = p.URL.User != nil
	e.Proxy, e.variable = p.URL.Scheme+"://"+p.URL.Host, Variable(p.URL)
	return nil, e
}

func (p *Proxy) dial(ctx context.Context, address string) (net.Conn, error) {
	var through func(context.Context, net.Conn, string) error
	var port string
	switch p.URL.Scheme {
	case "http":
		through, port = p.connect, "80"
	case "https":
		through, port = p.connect, "443"
	case "socks5", "socks5h":
		through, port = p.socks, "1080"
	default:
		return nil, errors.New("only http, https, socks5 and socks5h proxies are supported")
	}
	if given := p.URL.Port(); given != "" {
		port = given
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(p.URL.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if p.URL.Scheme == "https" {
		tc := tls.Client(conn, &tls.Config{
			ServerName: p.URL.Hostname(),
			RootCAs:    p.Roots,
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"},
		})
		if err := tc.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = tc
	}
	if err := bounded(ctx, conn, func() error { return through(ctx, conn, address) }); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// bounded calls f, whose reads and writes on conn fail when ctx ends.
func bounded(ctx context.Context, conn net.Conn, f func() error) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() || err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// socks asks a SOCKS5 proxy for the connection (RFC 1928 and 1929).
func (p *Proxy) socks(ctx context.Context, conn net.Conn, address string) error {
	var auth *proxy.Auth
	if u := p.URL.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", p.URL.Host, auth, nil)
	if err != nil {
		return err
	}
	// The dialer would wrap the connection and hide its socket.
	w, ok := d.(interface {
		DialWithConn(context.Context, net.Conn, string, string) (net.Addr, error)
	})
	if !ok {
		return errors.New("the SOCKS5 client cannot use a given connection")
	}
	_, err = w.DialWithConn(ctx, conn, "tcp", address)
	return err
}

// Package connect reaches a public name as its visitors do, for programs that speak no
// TLS: the bytes inside of a TLS connection, with the ends and resets of both sides kept.
//
// It knows nothing of relays and devices. The name and its certificate are checked as a
// browser does.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/socket"
	"keystay/internal/unheard"
)

const (
	// DialTimeout is how long the TCP connection may take, with the look-up of the name.
	DialTimeout = 15 * time.Second
	// HandshakeTimeout is how long the TLS handshake may take: a relay lets a visitor
	// wait for a device that is away, 10 s by default.
	HandshakeTimeout = 30 * time.Second
)

// A Dialer says which name is reached, and how. Only Name is required.
type Dialer struct {
	Name string // in normal form
	Port string // empty is 443

	// Address, host:port, is dialled in place of the name's own. The name is still what
	// is verified.
	Address string

	// Dial makes the TCP connection to an address, host:port; nil dials directly.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Roots are trusted for the name's certificate; nil means the system's.
	Roots *x509.CertPool

	// Certificate is shown where the other side asks for one; nil is none.
	Certificate *tls.Certificate

	// Protocols are offered (ALPN, RFC 7301), the most wanted one first; none is no offer.
	Protocols []string
}

// String is the name with its port.
func (d *Dialer) String() string { return net.JoinHostPort(d.Name, d.port()) }

func (d *Dialer) port() string {
	if d.Port == "" {
		return "443"
	}
	return d.Port
}

// Connect reaches the name and does the TLS handshake. The error is an *Error. Once
// Connect has returned, ctx has no effect on the connection. The caller closes it.
func (d *Dialer) Connect(ctx context.Context) (*Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, &Error{Name: d.String(), Err: err}
	}
	return c, nil
}

func (d *Dialer) connect(ctx context.Context) (*Conn, error) {
	tcp, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	// If this process dies, nobody takes what came until then for all.
	socket.Linger(tcp, 0)
	config := &tls.Config{ServerName: d.Name, RootCAs: d.Roots, NextProtos: d.Protocols, MinVersion: tls.VersionTLS12}
	if d.Certificate != nil {
		// Also where the other side names other CAs: it can say what is wrong with it.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.Certificate, nil }
	}
	tc := tls.Client(&below{Conn: tcp}, config)
	ctx, cancel := context.WithTimeoutCause(ctx, HandshakeTimeout, errSilent)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		tcp.Close()
		if context.Cause(ctx) == errSilent {
			err = errSilent
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return &Conn{unheard.NewConn(tc)}, nil
}

// dial makes the TCP connection.
func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	address := d.String()
	if d.Address != "" {
		address = d.Address
	}
	if d.Dial != nil {
		return d.Dial(ctx, address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

var (
	// errSilent is the error of a name that does not answer the ClientHello.
	errSilent = fmt.Errorf("no answer within %v", HandshakeTimeout)
	// errTruncated is the error of a connection whose TCP has ended without the end of
	// TLS in front of it (RFC 8446, section 6.1): what has come may not be all.
	errTruncated = errors.New("it has ended without the end of TLS (close_notify)")
)

// A Conn is a TLS connection to a name. An end in good order is io.EOF, and CloseWrite
// is one for the other side; any other end is another error.
type Conn struct{ *unheard.Conn }

// Copy carries bytes between local and the name until both have ended their side, or one
// of them breaks; then the other one is reset. It closes both. The error is an *Error.
func (d *Dialer) Copy(local duplex.Conn, name *Conn) error {
	if r := duplex.Copy(local, name, duplex.Options{}); r.Err != nil {
		return &Error{Name: d.String(), Err: r.Err, Broken: true}
	}
	return nil
}

// below is what is below TLS. Package crypto/tls takes io.EOF between two records for
// an end in good order.
type below struct {
	net.Conn
	bound unheard.Bound
}

// Read is the connection's but for the error.
func (b *below) Read(p []byte) (int, error) {
	p, err := b.bound.Within(p)
	if err != nil {
		return 0, err
	}
	n, err := b.Conn.Read(p)
	b.bound.Took(n)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// Unheard bounds what TLS takes in without giving data on.
func (b *below) Unheard() *unheard.Bound { return &b.bound }

// NetConn is the TCP connection.
func (b *below) NetConn() net.Conn { return b.Conn }

// CloseWrite ends this side of the TCP connection, where there is one.
func (b *below) CloseWrite() error {
	if c, ok := b.Conn.(duplex.Conn); ok {
		return c.CloseWrite()
	}
	return nil
}

var _ duplex.Conn = (*Conn)(nil)

var _ duplex.Conn = (*below)(nil)

package browser

import (
	"context"
	"errors"
	"fmt"
	"net"

	utls "github.com/refraction-networking/utls"
)

// A Conn is a TLS connection to a name, with a browser's hello. Nothing of the other
// end's certificate is verified but that it has the key of it: whose key that is, is for
// the caller to say. No session is resumed and none is kept. A server that wants a group of
// finite fields, which [Firefox] offers and sends no share for, fails the handshake.
type Conn struct {
	*utls.UConn
	shape Shape
	tap   *tap
}

// Client returns a TLS connection to name over conn, before its handshake. Closing it
// closes conn.
func Client(conn net.Conn, name string, shape Shape) (*Conn, error) {
	c := &Conn{shape: shape, tap: newTap(conn)}
	var err error
	c.UConn, err = shape.client(c.tap, &utls.Config{
		ServerName:             name,
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		KeyLogWriter:           secretLog{of: c.tap},
	})
	if err != nil {
		return nil, fmt.Errorf("make a hello like %s's: %w", shape, err)
	}
	return c, nil
}

// Handshake does the handshake, until ctx ends.
func (c *Conn) Handshake(ctx context.Context) error {
	err := c.HandshakeContext(ctx)
	if !c.tap.over {
		_ = c.tap.end() // with what is there of the certificates, if any
	}
	if err == nil {
		c.tap.chain = nil
		for _, cert := range c.ConnectionState().PeerCertificates {
			c.tap.chain = append(c.tap.chain, cert.Raw)
		}
	}
	return err
}

// Hello returns the ClientHello that the handshake sends, or has sent: the handshake
// message without the header of its record (RFC 8446, section 4.1.2).
func (c *Conn) Hello() ([]byte, error) {
	if err := c.BuildHandshakeState(); err != nil {
		return nil, err
	}
	if raw := c.HandshakeState.Hello.Raw; len(raw) > 0 {
		return raw, nil
	}
	return c.HandshakeState.Hello.Marshal() // of a Program
}

// Random is that of the hello, by which the other end knows it (RFC 8446, section 4.1.2).
func (c *Conn) Random() (r [32]byte, err error) {
	hello, err := c.Hello()
	if err == nil && len(hello) < 38 {
		err = errors.New("the hello has no random")
	}
	if err != nil {
		return r, err
	}
	copy(r[:], hello[6:])
	return r, nil
}

// Chain returns the certificates that were shown, in DER and the leaf first, up to 256 KiB
// of them; also where the handshake has failed behind that, because of what follows the leaf
// or another thing. It is empty where none was shown. Where it cannot be read which these
// are, the first one is empty.
func (c *Conn) Chain() [][]byte { return c.tap.chain }

// IsElsewhere reports whether the server has said at once that there is no TLS for the name:
// no browser goes on with it either.
func (c *Conn) IsElsewhere() bool { return c.tap.elsewhere }

// Exporter returns keying material of the connection (RFC 8446, section 7.5; RFC 5705),
// with no context. It fails before the handshake is over, and with TLS 1.2 without the
// extended master secret (RFC 7627).
func (c *Conn) Exporter(label string, size int) ([]byte, error) {
	state := c.ConnectionState()
	if !state.HandshakeComplete {
		return nil, fmt.Errorf("export keying material: the handshake is not over")
	}
	return state.ExportKeyingMaterial(label, nil, size)
}

// Protocol is the application protocol that was agreed on (RFC 7301), or "".
func (c *Conn) Protocol() string { return c.ConnectionState().NegotiatedProtocol }

package browser

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"

	utls "github.com/refraction-networking/utls"
)

// A Conn is a TLS connection to a name, with a browser's hello. Nothing of the other
// end's certificate is verified but that it has the key of it: whose key that is, is for
// the caller to say. No session is resumed and none is kept. The key share of [Firefox]
// for P-256 has no key behind it: a server that takes that one fails the handshake.
type Conn struct {
	*utls.UConn
	shape Shape
	chain []*x509.Certificate
}

// Client returns a TLS connection to name over conn, before its handshake. Closing it
// closes conn.
func Client(conn net.Conn, name string, shape Shape) (*Conn, error) {
	c := &Conn{shape: shape}
	var err error
	c.UConn, err = shape.client(conn, &utls.Config{
		ServerName:             name,
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			for _, der := range raw { // which have been parsed before
				if cert, err := x509.ParseCertificate(der); err == nil {
					c.chain = append(c.chain, cert)
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make a hello like %s's: %w", shape, err)
	}
	if shape == Firefox {
		c.shareKey()
	}
	return c, nil
}

// shareKey uses one X25519 key for both key shares that have one, as NSS does.
func (c *Conn) shareKey() {
	keys := c.HandshakeState.State13.KeyShareKeys
	for _, e := range c.Extensions {
		shares, ok := e.(*utls.KeyShareExtension)
		if !ok {
			continue
		}
		for i := range shares.KeyShares {
			if shares.KeyShares[i].Group == utls.X25519 {
				keys.Ecdhe = keys.MlkemEcdhe
				shares.KeyShares[i].Data = keys.Ecdhe.PublicKey().Bytes()
			}
		}
	}
}

// Handshake does the handshake, until ctx ends.
func (c *Conn) Handshake(ctx context.Context) error { return c.HandshakeContext(ctx) }

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

// Chain returns the certificates that were shown, the leaf first; also where the
// handshake has failed behind that. It is empty where none was shown.
func (c *Conn) Chain() []*x509.Certificate { return c.chain }

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

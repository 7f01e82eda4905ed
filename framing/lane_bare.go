package framing

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"keystay/internal/duplex"
	"keystay/internal/socket"
)

// A TLSRecordConn is a connection below TLS that never reads past the TLS
// record it is in, so that the bytes behind the last record are still there
// when TLS is left. [tls.Conn] reads as much as it can get.
//
// Its Read is not safe for concurrent use, as tls.Conn calls it.
type TLSRecordConn struct {
	net.Conn
	head  [tlsHeader]byte
	nhead int // how much of head has been read
	given int // and handed on
	left  int // bytes of the record's body that are still to come
}

// tlsHeader is the size of a TLS record's header (RFC 8446, section 5.1): its
// type, a version, and two bytes of length.
const tlsHeader = 5

// Read reads of one record, or of its header.
func (c *TLSRecordConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.given == tlsHeader && c.left == 0 {
		c.nhead, c.given = 0, 0
	}
	if c.nhead < tlsHeader {
		n, err := io.ReadFull(c.Conn, c.head[c.nhead:])
		c.nhead += n
		if c.nhead < tlsHeader {
			if c.nhead > 0 {
				err = socket.NoEOF(err)
			}
			return 0, err
		}
		c.left = int(c.head[3])<<8 | int(c.head[4])
	}
	if c.given < tlsHeader {
		n := copy(p, c.head[c.given:])
		c.given += n
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// CloseWrite passes on an end, for which the connection below must have one.
func (c *TLSRecordConn) CloseWrite() error {
	if d, ok := c.Conn.(duplex.Conn); ok {
		return d.CloseWrite()
	}
	return errNotBare
}

// NetConn returns the connection below.
func (c *TLSRecordConn) NetConn() net.Conn { return c.Conn }

// Bare returns the TCP connection below tc, which runs on a [TLSRecordConn], to go on
// without TLS. Nothing may be on its way in TLS any more by then, and tc is not used
// again, not even closed.
func Bare(tc *tls.Conn) (duplex.Conn, error) { return bare(tc) }

// errNotBare is the error of a TLS connection that cannot be left.
var errNotBare = errors.New("TLS runs on a connection that cannot go on without it")

// bare returns the connection below tc, to go on without TLS. Nothing may be on
// its way in TLS any more, and tc is not used again.
func bare(tc *tls.Conn) (duplex.Conn, error) {
	below, ok := tc.NetConn().(*TLSRecordConn)
	if !ok {
		return nil, errNotBare
	}
	d, ok := socket.Innermost(below).(duplex.Conn)
	if !ok {
		return nil, errNotBare
	}
	return d, nil
}

var _ duplex.Conn = (*TLSRecordConn)(nil)

package site

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// patience bounds what a visitor waits for one answer.
const patience = time.Minute

// A Door is where visitors come in.
type Door struct {
	Address string // to dial
	Name    string // that is asked for and verified
	Roots   *x509.CertPool
	Dial    func(network, address string) (net.Conn, error) // nil means net.Dial
}

// A Visitor is one connection to a site. It is used by one goroutine at a time,
// but for Close.
type Visitor struct {
	conn *tls.Conn
	buf  []byte
}

// Open makes a new connection, with a full TLS handshake.
func (d *Door) Open() (*Visitor, error) {
	dial := d.Dial
	if dial == nil {
		dial = net.Dial
	}
	c, err := dial("tcp", d.Address)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(c, &tls.Config{ServerName: d.Name, RootCAs: d.Roots})
	tc.SetDeadline(time.Now().Add(patience))
	if err := tc.Handshake(); err != nil {
		c.Close()
		return nil, fmt.Errorf("visit: %w", err)
	}
	return &Visitor{conn: tc}, nil
}

// Unrecognized reports whether Open failed because nobody has the name: the
// alert of RFC 6066, section 3.
func Unrecognized(err error) bool {
	// crypto/tls keeps the type of an alert from the other side to itself.
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == tls.AlertError(112).Error()
}

// Close closes the connection.
func (v *Visitor) Close() { v.conn.Close() }

// Rest lets go of what an idle visitor does not need.
func (v *Visitor) Rest() { v.buf = nil }

// Get downloads n bytes.
func (v *Visitor) Get(n int64) error {
	v.conn.SetDeadline(time.Now().Add(patience))
	if _, err := v.conn.Write(request(opGet, n)); err != nil {
		return err
	}
	v.room(int(min(n, chunk)))
	for left := n; left > 0; {
		m, err := v.conn.Read(v.buf[:min(int64(len(v.buf)), left)])
		if err != nil {
			return fmt.Errorf("%d bytes missing: %w", left, err)
		}
		left -= int64(m)
	}
	return nil
}

// Put uploads n bytes and waits for the answer.
func (v *Visitor) Put(n int64) error {
	v.conn.SetDeadline(time.Now().Add(patience))
	if _, err := v.conn.Write(request(opPut, n)); err != nil {
		return err
	}
	v.room(chunk)
	if err := send(v.conn, n, v.buf); err != nil {
		return err
	}
	_, err := io.ReadFull(v.conn, v.buf[:answerSize])
	return err
}

// Download reads without end and adds to count what arrives, until the
// connection is closed or breaks.
func (v *Visitor) Download(count *atomic.Int64) error {
	v.conn.SetDeadline(time.Time{})
	if _, err := v.conn.Write(request(opGet, Endless)); err != nil {
		return err
	}
	v.room(chunk)
	for {
		n, err := v.conn.Read(v.buf)
		count.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// Upload writes without end and adds to count what is taken, until the
// connection is closed or breaks.
func (v *Visitor) Upload(count *atomic.Int64) error {
	v.conn.SetDeadline(time.Time{})
	if _, err := v.conn.Write(request(opPut, Endless)); err != nil {
		return err
	}
	v.room(chunk)
	for {
		n, err := v.conn.Write(v.buf)
		count.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

func (v *Visitor) room(n int) {
	if len(v.buf) < n {
		v.buf = make([]byte, n)
	}
}

package site

import (
	"bytes"
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
	Web     bool                                            // the web site is behind it, for Get and Download
	Curves  []tls.CurveID                                   // the key exchanges that are offered; nil means Go's own
}

// A Visitor is one connection to a site. It is used by one goroutine at a time,
// but for Close.
type Visitor struct {
	conn *tls.Conn
	buf  []byte
	web  string // the host to ask over HTTP, or ""
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
	tc := tls.Client(c, &tls.Config{ServerName: d.Name, RootCAs: d.Roots, CurvePreferences: d.Curves})
	tc.SetDeadline(time.Now().Add(patience))
	if err := tc.Handshake(); err != nil {
		c.Close()
		return nil, fmt.Errorf("visit: %w", err)
	}
	v := &Visitor{conn: tc}
	if d.Web {
		v.web = d.Name
	}
	return v, nil
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
	if _, err := v.conn.Write(v.get(n)); err != nil {
		return err
	}
	v.room(int(min(n, chunk)))
	left := n
	if v.web != "" {
		early, err := v.head()
		if err != nil {
			return err
		}
		left -= int64(early)
	}
	for left > 0 {
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
	if _, err := v.conn.Write(v.get(Endless)); err != nil {
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

// get is the request for n bytes.
func (v *Visitor) get(n int64) []byte {
	if v.web == "" {
		return request(opGet, n)
	}
	return fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n", n, v.web)
}

// maxHead is the longest head of an answer, in bytes.
const maxHead = 4 << 10

// head reads the head of an answer, and returns how many bytes of the body came
// with it.
func (v *Visitor) head() (early int, err error) {
	v.room(maxHead)
	for n := 0; n < len(v.buf); {
		m, err := v.conn.Read(v.buf[n:])
		if err != nil {
			return 0, fmt.Errorf("the head of the answer: %w", err)
		}
		n += m
		head, body, whole := bytes.Cut(v.buf[:n], []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
			line, _, _ := bytes.Cut(head, []byte("\r\n"))
			return 0, fmt.Errorf("the answer is %q", line)
		}
		return len(body), nil
	}
	return 0, errors.New("the head of the answer has no end")
}

func (v *Visitor) room(n int) {
	if len(v.buf) < n {
		v.buf = make([]byte, n)
	}
}

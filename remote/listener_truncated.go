package remote

import (
	"fmt"
	"io"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/unheard"
)

// errTruncated is the error of a visitor whose TCP connection ended without the
// end of TLS in front of it, as when its program dies or somebody on the path
// cuts the connection (RFC 8446, section 6.1).
var errTruncated = fmt.Errorf("the visitor's connection ended without a close_notify: %w", io.ErrUnexpectedEOF)

// maxShaken is how many bytes a visitor's TLS handshake may take: a hello as long as a
// relay takes it, and a certificate where visitors have one.
const maxShaken = 64<<10 + unheard.Most

// A tlsInput is a stream below TLS. After close_notify nobody reads on, so the
// end of the stream is a truncation wherever it is read. Package crypto/tls
// takes io.EOF between two records, and io.ErrUnexpectedEOF too, for an end in
// good order.
type tlsInput struct {
	*framing.Stream
	left    func() // called by Close
	unheard unheard.Bound
}

// Close is the stream's.
func (t *tlsInput) Close() error {
	t.left()
	return t.Stream.Close()
}

// Read is the stream's but for the error.
func (t *tlsInput) Read(p []byte) (int, error) {
	p, err := t.unheard.Within(p)
	if err != nil {
		return 0, err
	}
	n, err := t.Stream.Read(p)
	t.unheard.Took(n)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// Unheard bounds what TLS takes in without giving data on, for whoever reads from it
// and sets the bound anew each time that data has come.
func (t *tlsInput) Unheard() *unheard.Bound { return &t.unheard }

var _ duplex.Conn = (*tlsInput)(nil)

// What package publish asks of the connection below a visitor's TLS.
var _ interface {
	Reset() error
	Broken() error
	Unheard() *unheard.Bound
} = (*tlsInput)(nil)

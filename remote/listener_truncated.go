package remote

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

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

// An arrival is a visitor's connection as it has come here: a stream of a link, or a
// connection to an address of the device's own.
type arrival interface {
	duplex.Conn
	// Header says who has come, and for which name.
	Header() framing.Header
	// Reset ends it so that the visitor sees a reset.
	Reset() error
	// Broken returns why it can carry no more, or nil.
	Broken() error
}

var _ arrival = (*framing.Stream)(nil)

// A tlsInput is an arrival below TLS. After close_notify nobody reads on, so the
// end of the stream is a truncation wherever it is read. Package crypto/tls
// takes io.EOF between two records, and io.ErrUnexpectedEOF too, for an end in
// good order.
type tlsInput struct {
	arrival
	left    func() // called by Close
	unheard unheard.Bound
	opening atomic.Pointer[opening] // while a probe is on its way

	writing sync.Mutex // held while something is written
	corked  bool
	held    []byte // what was written meanwhile
}

// Close is the arrival's.
func (t *tlsInput) Close() error {
	t.left()
	return t.arrival.Close()
}

// Read is the arrival's but for the error.
func (t *tlsInput) Read(p []byte) (int, error) {
	p, err := t.unheard.Within(p)
	if err != nil {
		return 0, err
	}
	n, err := t.arrival.Read(p)
	t.unheard.Took(n)
	if o := t.opening.Load(); o != nil {
		o.took(p[:n])
	}
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// Write is the arrival's, but between Cork and Uncork it keeps what it gets.
func (t *tlsInput) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.corked {
		t.held = append(t.held, p...)
		return len(p), nil
	}
	return t.arrival.Write(p)
}

// Cork keeps what is written until Uncork, so that several records of TLS go as one: each
// by itself would cost a call of the system. They are kept in space, as far as it goes,
// which is the caller's again after Uncork.
func (t *tlsInput) Cork(space []byte) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.corked, t.held = true, space[:0]
}

// Uncork writes what Cork has kept.
func (t *tlsInput) Uncork() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	held := t.held
	t.corked, t.held = false, nil
	_, err := t.arrival.Write(held)
	return err
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
	Cork(space []byte)
	Uncork() error
} = (*tlsInput)(nil)

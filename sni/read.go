package sni

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// MaxHello is the most bytes, record headers included, that a ClientHello may
// take up: 64 KiB. Those of browsers take 0.5 to 2 KiB. With the message in
// records of one byte each, which is allowed, it leaves room for one of 10,922
// bytes.
const MaxHello = 64 << 10

// HelloTimeout is how long a peer may take to send its whole ClientHello.
const HelloTimeout = 10 * time.Second

// minBuffer is the size that Read begins with if its caller brings no buffer.
const minBuffer = 1 << 10

// Read reads a ClientHello from c, which must be at its first byte. It uses
// the whole capacity of buf, and moves to a buffer of its own, twice the size,
// each time that one is full, up to MaxHello. So what it holds is at most
// twice what has arrived, and what the peer says is still to come counts for
// nothing. The Hello's Raw has every byte taken from c, also when there is an
// error; if it still aliases buf, buf must not be used again before Raw is
// done with.
//
// Read sets c's read deadline to HelloTimeout from now, for the whole hello,
// and on success clears it. On failure the deadline stays, and c is the
// caller's to refuse or close. The error is, or wraps,
//
//   - ErrNotTLS, ErrMalformed or ErrTooLarge, as from Parse
//   - os.ErrDeadlineExceeded if the hello is not whole after HelloTimeout
//   - io.EOF if the peer closed before its first byte,
//     io.ErrUnexpectedEOF if it did so in the middle
//   - else the connection's own error
func Read(c net.Conn, buf []byte) (Hello, error) { return ReadWithin(c, buf, nil) }

// ReadWithin is Read for a caller that bounds how much is held: grow is called
// before Read moves to a buffer of size bytes, and its error ends the reading and
// is wrapped by that of ReadWithin. It may be nil.
func ReadWithin(c net.Conn, buf []byte, grow func(size int) error) (Hello, error) {
	if err := c.SetReadDeadline(time.Now().Add(HelloTimeout)); err != nil {
		return Hello{}, fmt.Errorf("sni: set deadline: %w", err)
	}
	if cap(buf) == 0 {
		buf = make([]byte, minBuffer)
	}
	buf = buf[:min(cap(buf), MaxHello)]
	var r records
	for n := 0; ; {
		if n == len(buf) {
			// There is room to grow: parse calls MaxHello bytes too large
			// rather than incomplete.
			size := min(2*n, MaxHello)
			if grow != nil {
				if err := grow(size); err != nil {
					return Hello{Raw: buf}, fmt.Errorf("sni: read ClientHello: %w", err)
				}
			}
			grown := make([]byte, size)
			copy(grown, buf)
			buf = grown
		}
		m, err := c.Read(buf[n:])
		n += m
		if m > 0 {
			h, perr := parse(&r, buf[:n])
			if perr == nil {
				if derr := c.SetReadDeadline(time.Time{}); derr != nil {
					return h, fmt.Errorf("sni: clear deadline: %w", derr)
				}
				return h, nil
			}
			if !errors.Is(perr, ErrIncomplete) {
				return h, perr
			}
		}
		if err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Hello{Raw: buf[:n]}, fmt.Errorf("sni: read ClientHello: %w", err)
		}
	}
}

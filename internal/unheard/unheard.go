// Package unheard bounds what TLS may take in without giving data on.
//
// Package crypto/tls keeps a message of a handshake until it is whole, of up to
// 256 KiB. It does so before the keys are agreed on and after it, for as long as the
// connection lasts.
package unheard

import "errors"

// Most is how many bytes TLS may read between two pieces of data that it gives on: a
// record as long as they get (RFC 8446, section 5.2), and some that only change keys.
const Most = 17 << 10

// Err is the error of reading more.
var Err = errors.New("TLS was sent too much that is no data")

// A Bound is for the connection below one TLS connection, whose reads have to come
// one after the other. The zero value bounds nothing.
type Bound struct {
	on   bool
	left int
}

// Set lets n bytes more be read.
func (b *Bound) Set(n int) { b.on, b.left = true, n }

// Lift ends what Set began.
func (b *Bound) Lift() { b.on = false }

// Within returns as much of p as may be read into now, or Err. The caller tells Took
// how much it has read.
func (b *Bound) Within(p []byte) ([]byte, error) {
	if !b.on || len(p) == 0 {
		return p, nil
	}
	if b.left == 0 {
		return nil, Err
	}
	return p[:min(len(p), b.left)], nil
}

// Took notes that n bytes were read.
func (b *Bound) Took(n int) { b.left -= n }

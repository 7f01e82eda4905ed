package main

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"sync/atomic"
)

// A body is n bytes that do not compress, the same ones each time.
type body struct {
	left int64
	half int64 // where stop comes
	n    atomic.Int64
	data io.Reader
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
	stop func() error // may be nil
}

func newBody(n int64) *body {
	return &body{left: n, half: n / 2, data: rand.NewChaCha8([32]byte{}), sum: sha256.New()}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.stop != nil && b.n.Load() >= b.half {
		return 0, b.stop()
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.left)]
	if b.stop != nil {
		p = p[:min(int64(len(p)), b.half-b.n.Load())]
	}
	n, err := b.data.Read(p)
	b.sum.Write(p[:n])
	b.left -= int64(n)
	b.n.Add(int64(n))
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

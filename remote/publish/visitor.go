package publish

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxHeaderBytes is how long the head of a visitor's request may be. net/http
	// answers a longer one with 431 (RFC 6585), or ends the stream. Common
	// servers take 8 to 32 KiB.
	maxHeaderBytes = 64 << 10
	// maxVisitorStreams is how many requests of one visitor's HTTP/2 connection
	// are served at once; the least that RFC 9113, section 6.5.2, recommends.
	maxVisitorStreams = 100
)

// halfCloseGrace is how long an HTTP/1 visitor that has ended its side is
// still answered.
const halfCloseGrace = time.Minute

// A visitorBody knows whether reading it has failed: then the visitor has gone,
// and the local service has done nothing wrong. It also stays at its end: the
// transport reads once more behind it, and if the answer has begun by then,
// net/http's server has closed the body, and that would break the answer off.
type visitorBody struct {
	io.ReadCloser
	ended   bool
	failed  atomic.Bool
	trailer http.Header // the request's
}

// Read implements io.Reader.
func (b *visitorBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended = true
		dropFrontFields(b.trailer) // they are all there now, announced or not
	case err != nil:
		b.failed.Store(true)
	}
	return n, err
}

type bodyKey struct{}

type connKey struct{}

// withConn is an http.Server's ConnContext: it keeps the visitor's connection for
// Handler. Without it a handler works, but cannot pass on how a visitor ends.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// A stream is what may be below a visitor's TLS: a connection that can be
// reset, and that knows whether it has broken.
type stream interface {
	Reset()
	Broken() error
}

// streamOf returns the stream below the request's connection, or nil.
func streamOf(r *http.Request) stream {
	tc, ok := r.Context().Value(connKey{}).(*tls.Conn)
	if !ok {
		return nil
	}
	s, _ := tc.NetConn().(stream)
	return s
}

// halfCloseContext is a context that outlives the end of the visitor's side:
// whoever ends it after the request still wants the answer. net/http cannot
// tell that from a visitor who has left; so the answer gets halfCloseGrace, and
// a connection that broke none.
func halfCloseContext(parent context.Context, s stream) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var grace *time.Timer
	armed := make(chan struct{})
	stop := context.AfterFunc(parent, func() {
		defer close(armed)
		if s.Broken() != nil {
			cancel()
			return
		}
		grace = time.AfterFunc(halfCloseGrace, cancel)
	})
	return ctx, func() {
		if !stop() {
			<-armed
			if grace != nil {
				grace.Stop()
			}
		}
		cancel()
	}
}

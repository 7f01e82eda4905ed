package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/fields"
	"keystay/internal/page"
)

const (
	// maxHeaderBytes is how long the head of a visitor's request may be. net/http
	// answers a longer one with 431 (RFC 6585) in words of its own: it asks no
	// handler, so there is no place for a page. Common servers take 8 to 32 KiB.
	maxHeaderBytes = 64 << 10
	// maxVisitorStreams is how many requests of one visitor's HTTP/2 connection
	// are served at once; the least that RFC 9113, section 6.5.2, recommends.
	maxVisitorStreams = 100
)

// halfCloseGrace is how long an HTTP/1 visitor that has ended its side with a
// close_notify is still answered. A program that has only finished asking, and
// one that has closed altogether, look the same from here: long enough for an
// answer, and soon enough for a service that counts who is there.
const halfCloseGrace = 10 * time.Second

// A visitorBody knows whether reading it has failed: then the visitor has gone,
// or what it sends is not well formed, and the local service has done nothing
// wrong. It also stays at its end: the transport reads once more behind it, and
// if the answer has begun by then, net/http's server has closed the body, and
// that would break the answer off.
type visitorBody struct {
	io.ReadCloser
	x         *exchange
	expects   bool       // the visitor waits for leave to send it, which reading asks for
	reading   sync.Mutex // held while ReadCloser is read, and the trailer is filled in
	ended     atomic.Bool
	left      atomic.Bool // the answer is over: what is left of it is nobody's
	failed    atomic.Bool
	malformed atomic.Bool // it has failed, and the visitor is there
}

// Read implements io.Reader.
func (b *visitorBody) Read(p []byte) (int, error) {
	if b.ended.Load() {
		return 0, io.EOF
	}
	if b.left.Load() {
		return 0, errUnwanted
	}
	if a := b.x.attempt.Load(); b.expects && a != nil && a.service != nil && a.service.hasAnswered() {
		// The transport would send it to keep the connection. But the service
		// does not want it, and the visitor shall not be asked.
		select {
		case <-b.x.over:
			return 0, errUnwanted
		case <-a.left: // somebody else does
		}
	}
	b.expects = false
	return b.take(p)
}

// take reads ReadCloser. Behind an early answer takeRest reads it while the transport still
// does. Package net/http's own body allows that. The inspector, which copies what is read,
// does not, and neither does the map of the trailer: Go ends a program that writes a map
// while it is looked through.
func (b *visitorBody) take(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.ended.Load() {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		fields.DropOfFront(b.x.request.Trailer) // they are all there now
		dropFraming(b.x.request.Trailer)
		b.ended.Store(true) // from here on others look at them
	case err != nil:
		if b.x.request.ProtoMajor == 1 && err != io.ErrUnexpectedEOF && err != http.ErrBodyReadAfterClose && !b.x.isGone() {
			b.malformed.Store(true)
		}
		b.failed.Store(true)
	}
	return n, err
}

// leave ends a request over HTTP/1 whose answer has been written. A connection goes on with
// the next one only behind the end of this one's body. Without full duplex, package net/http
// holds to that; with it, what follows a body that broke off would be a request.
func (b *visitorBody) leave() {
	if b.ended.Load() {
		return
	}
	b.left.Store(true)
	expected, most := b.x.request.Header.Get("Expect") != "", bodyTime
	if expected {
		most = restTime // nobody may have asked for it
	}
	end := time.Now().Add(most)
	control := http.NewResponseController(b.x.ResponseWriter)
	if control.SetReadDeadline(end) == nil && !expected && !b.x.request.Close && b.x.endsByHead() && b.takeRest(control) {
		return
	}
	if b.x.visitor != nil {
		b.x.visitor.endBy(end) // package net/http may lift the limit, else
	}
	w := b.x.ResponseWriter
	for {
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = inner.Unwrap()
	}
	// A body over its limit has package net/http end the connection behind the answer.
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("-")), 0).Read(make([]byte, 1))
}

// takeRest sends the answer, and takes in what is left of the body, up to bodyBytes. It reports
// whether that is all of it. Package net/http does the same behind the handler. But with full
// duplex it then begins to wait for the next request twice, at the end of the body and again
// behind it. The end of an answer that its head does not say is said by the end of the handler
// alone, which such an answer does not have wait.
func (b *visitorBody) takeRest(control *http.ResponseController) bool {
	_ = control.Flush() // which waits for no rest
	_, err := io.CopyN(io.Discard, readerFunc(b.take), bodyBytes)
	return err == io.EOF
}

// A readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// endsByHead reports whether the head of the answer over HTTP/1 says where that ends (RFC 9112,
// section 6.3), other than by chunks or the end of the connection.
func (x *exchange) endsByHead() bool {
	if x.request.Method == http.MethodHead || x.Header().Get("Content-Length") != "" {
		return true
	}
	return x.answer != nil && (x.answer.StatusCode == http.StatusNoContent || x.answer.StatusCode == http.StatusNotModified)
}

// errUnwanted is the error of a body that the service has answered without.
var errUnwanted = errors.New("the service has answered without the body")

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
	Reset() error
	Broken() error
}

// newExchange begins an exchange, with what is known of the visitor's connection.
func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, request: r, length: -1, over: make(chan struct{})}
	switch c := r.Context().Value(connKey{}).(type) {
	case *visitorConn:
		x.visitor, x.head = c, c.take()
		x.stream, _ = c.NetConn().(stream)
		r.TLS = c.state
	case *tls.Conn:
		x.stream, _ = c.NetConn().(stream)
	}
	return x
}

const (
	// restTime and restBytes are how long, and for how much, a visitor is heard
	// whose request was refused in the middle. A connection that is closed with
	// bytes unread is reset, and the reset may overtake the answer.
	restTime  = time.Second
	restBytes = 256 << 10
)

// refuseRest answers a request whose end nobody knows with a page, and ends the
// connection.
func (x *exchange) refuseRest(p *page.Page) {
	x.Header().Set("Connection", "close")
	p.Write(x, x.request)
	control := http.NewResponseController(x.ResponseWriter)
	if control.Flush() != nil {
		return
	}
	c, _, err := control.Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
	c.SetReadDeadline(time.Now().Add(restTime))
	_, _ = io.CopyN(io.Discard, c, restBytes)
}

const (
	// bodyBytes and bodyTime are how much of a body, and how long, is discarded
	// that was not asked for. Over HTTP/2 a visitor has no more on its way than
	// largeUpload before it hears of an answer.
	bodyBytes = largeUpload
	bodyTime  = 10 * time.Second
	// bodyPiece is how much of it has to come within restTime.
	bodyPiece = 64 << 10
)

// discardBody takes in the rest of the body of a request that has its answer from
// here. Else, over HTTP/2, net/http's server sends RST_STREAM behind the answer, and
// another one with STREAM_CLOSED for each piece that comes then: there are visitors,
// as curl 7.88, that drop the answer for that. Over HTTP/1 it closes the connection,
// whose reset may overtake the answer. A visitor that waits for leave to send a body
// is not asked for it, and a CONNECT has none.
func discardBody(w http.ResponseWriter, r *http.Request, body io.Reader) {
	if body == http.NoBody || r.Method == http.MethodConnect || r.Header.Get("Expect") != "" {
		return
	}
	if _, err := w.Write(nil); errors.Is(err, http.ErrHijacked) { // the connection is the handler's
		return
	}
	control := http.NewResponseController(w)
	end := time.Now().Add(bodyTime)
	for range bodyBytes / bodyPiece {
		next := time.Now().Add(restTime)
		if next.After(end) || control.SetReadDeadline(next) != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, body, bodyPiece); err != nil {
			return
		}
	}
}

// isGone reports whether the visitor's connection has broken, or has ended without
// a close_notify, which is a truncation (RFC 8446, section 6.1).
func (x *exchange) isGone() bool {
	return x.visitor != nil && x.visitor.cut.Load() || x.stream != nil && x.stream.Broken() != nil
}

// halfCloseContext is a context that outlives the end of the visitor's side:
// whoever ends it after the request still wants the answer. net/http cannot tell
// that from a visitor who has left: the answer gets halfCloseGrace, and a visitor
// who is gone none.
func halfCloseContext(parent context.Context, gone func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var grace *time.Timer
	armed := make(chan struct{})
	stop := context.AfterFunc(parent, func() {
		defer close(armed)
		if gone() {
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

package publish

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// An exchange is one request and its answer, on their way through.
type exchange struct {
	http.ResponseWriter // the visitor's

	request *http.Request // the visitor's
	visitor *visitorConn  // nil over HTTP/2, and where the listener is not Visitors
	stream  stream        // below the visitor's TLS; may be nil
	head    head          // of the request
	tunnel  *tunnel       // of a WebSocket over HTTP/2, else nil
	visit   *visit        // that the request is of
	route   *route        // that it takes, if that leads to a service
	pool    *pool         // of connections to the service

	conn       net.Conn    // to the service, once there is one
	reused     bool        // conn was not made for this request
	unexpected bool        // conn is one of HTTP/1, over which the request is not sent as it is; see traced
	service    *answerConn // the same over HTTP/1, else nil
	told       *head       // of the answer, there

	answer    *http.Response // the service's, once it has come
	body      *answerBody    // its body, over HTTP/1
	length    int64          // of the answer's body, or -1
	written   int64          // of it
	unflushed bool

	over    chan struct{} // closed behind the answer
	attempt atomic.Pointer[attempt]
}

// An attempt is one try to have the service answer, over HTTP/1. There is
// another one where the service asks for another connection.
type attempt struct {
	service *answerConn
	left    chan struct{} // closed when another one begins
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	return x
}

// asks notes the connection to the service on which the next try is sent.
func (x *exchange) asks(c net.Conn, reused bool) {
	x.conn, x.reused = c, reused
	if x.service, _ = c.(*answerConn); x.service != nil {
		x.told = x.service.asked(x.request.Method)
	}
	if last := x.attempt.Swap(&attempt{x.service, make(chan struct{})}); last != nil {
		close(last.left)
	}
}

// traced returns r so that a transport tells x of the connection to the service. One over
// which another request might follow the body of r, which is for HTTP/2 alone, is closed.
func (x *exchange) traced(r *http.Request) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			x.asks(info.Conn, info.Reused)
			x.unexpected = x.service != nil && hasBody(r) && !r.Close // the transport may send again by itself
			if x.unexpected {
				x.service.Close()
			}
		},
	}))
}

// speller gives requests the spelling of the visitor's.
type speller struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper. It may change r, which is ReverseProxy's
// own.
func (s speller) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r)
	if x.request.ProtoMajor == 1 {
		spell(r.Header, x.head.spelling)
	} else {
		usual(r.Header)
	}
	if te, ok := r.Header["Te"]; ok { // ReverseProxy has left trailers alone there
		delete(r.Header, "Te")
		r.Header["TE"] = te // as RFC 9110, section 10.1.4, has it
	}
	x.route.Request.apply(r.Header)
	return s.RoundTripper.RoundTrip(r)
}

// breakOff is deferred: it goes on with a panic. The answer was cut short then. In
// HTTP/1 the end of the connection may be all that says so: it must not look like a
// good one.
func (x *exchange) breakOff() {
	v := recover()
	if v == nil {
		return
	}
	if x.request.ProtoMajor == 1 && x.stream != nil {
		x.stream.Reset()
	}
	panic(v)
}

// WriteHeader sends the head of an answer as the service has sent it, as far as
// net/http lets it.
func (x *exchange) WriteHeader(code int) {
	h := x.Header()
	if code == http.StatusContinue && x.request.Header.Get("Expect") != "" {
		clear(h)
		return // the body is read now, and with that net/http says it
	}
	if code < 200 && !x.request.ProtoAtLeast(1, 1) {
		clear(h)
		return // HTTP/1.0 knows no interim answers (RFC 9110, section 15.2)
	}
	if code < 200 {
		dropHops(h)
		if x.route != nil {
			x.route.Response.leaveOut(h)
		}
		if x.request.ProtoMajor > 1 {
			// Package http2 reads the head of an interim answer in another goroutine, and
			// does not wait for that where the visitor resets the stream. ReverseProxy then
			// clears the head, and Go ends a program that does so while it is read. Of a head
			// with a length it sends a copy, without the length.
			h["Content-Length"] = nil
			defer delete(h, "Content-Length")
		}
	}
	var told head
	if x.service != nil && (x.answer != nil || code < 200) {
		told = x.service.read(x.told)
	}
	if code >= 200 {
		x.complete(h, code, told)
	}
	if x.request.ProtoMajor == 1 {
		if x.service != nil || x.answer == nil {
			spell(h, told.spelling)
		} else {
			usual(h)
		}
	}
	x.ResponseWriter.WriteHeader(code)
	x.unflushed = code >= 200
}

// complete keeps net/http from adding to an answer, and from taking away.
func (x *exchange) complete(h http.Header, code int, told head) {
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // else one is made out of the body
	}
	if code == http.StatusNoContent {
		h.Del("Content-Length") // which it may not have (RFC 9110, section 8.6): over HTTP/2 visitors take it for broken
	}
	if x.request.ProtoMajor != 1 {
		return
	}
	bodiless := x.request.Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified
	if _, ok := h["Content-Length"]; !ok && !bodiless && x.request.ProtoMinor > 0 {
		h["Transfer-Encoding"] = []string{"chunked"} // else a short body gets a length
	}
	if x.visitor == nil {
		return
	}
	version := "HTTP/1.1 "
	if x.request.ProtoMinor == 0 {
		version = "HTTP/1.0 "
	}
	version += strconv.Itoa(code) + " "
	standard := http.StatusText(code)
	old := version + standard + "\r\n"
	if standard == "" {
		old = version + "status code " + strconv.Itoa(code) + "\r\n"
	}
	line := old
	if x.service != nil && x.answer != nil && isText(told.reason) {
		line = version + told.reason + "\r\n"
	}
	if code == http.StatusNotModified { // net/http drops these (RFC 9110, section 15.4.5)
		for _, name := range []string{"Content-Type", "Content-Length"} {
			if v := h.Get(name); v != "" {
				line += name + ": " + v + "\r\n"
			}
		}
	}
	if line != old {
		x.visitor.status.Store(&statusLine{old, line})
	}
}

// isText reports whether s may be a reason phrase (RFC 9112, section 4).
func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Write implements http.ResponseWriter. Where the answer turns out to be bulk, Write
// reads and writes the rest of it, too.
func (x *exchange) Write(p []byte) (int, error) {
	n, err := x.write(p)
	if before := x.written - int64(n); err == nil && before < bulkAfter && x.written >= bulkAfter {
		err = x.copyBulk()
	}
	return n, err
}

func (x *exchange) write(p []byte) (int, error) {
	n, err := x.ResponseWriter.Write(p)
	x.written += int64(n)
	x.unflushed = x.unflushed || n > 0
	return n, err
}

// FlushError does what ReverseProxy asks for after each piece, where answerBody
// does not know better. Nothing is sent ahead of the first piece of a body with
// a length, so that a small answer goes out as one.
func (x *exchange) FlushError() error {
	if x.service != nil || x.length >= 0 && x.written == 0 {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// An answerBody is the body of an answer over HTTP/1. What has been written to
// the visitor is sent before the service is waited for, and not before.
type answerBody struct {
	io.ReadCloser
	x    *exchange
	read int64
	end  error // of the body, where copyBulk has read it
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	if b.x.unflushed && !b.x.service.holds(b.read) {
		b.x.unflushed = false
		if err := http.NewResponseController(b.x.ResponseWriter).Flush(); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == io.EOF && b.x.request.ProtoMajor > 1 && len(b.x.answer.Trailer) > 0 {
		// A whole answer would get a Content-Length beside its trailers.
		_ = http.NewResponseController(b.x.ResponseWriter).Flush()
	}
	return n, err
}

// buffers are those that answers are copied with. Without a pool each answer
// makes one.
type buffers struct{ pool sync.Pool }

// bufferSize is that of httputil.ReverseProxy.
const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }

// Hijack implements http.Hijacker, for ReverseProxy's switch of protocols: what
// the visitor has sent behind its request is not lost.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := x.hijack()
	if err != nil {
		return nil, nil, err
	}
	return x.shown(c), rw, nil
}

func (x *exchange) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if x.tunnel != nil {
		return x.tunnel.open(x.answer.Header)
	}
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	u := &switched{Conn: c, in: rw.Reader}
	if x.service != nil {
		u.spelling = x.service.read(x.told).spelling
	}
	return u, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(u, switchedHead)), nil
}

// switchedHead is the longest head of an answer 101 whose spelling is kept.
const switchedHead = 16 << 10

// A switched connection is a visitor's after a switch of protocols.
type switched struct {
	net.Conn
	in       *bufio.Reader // what net/http has read too far, and then the connection
	spelling []string      // for the head, which is written first
}

// Read implements net.Conn.
func (s *switched) Read(p []byte) (int, error) {
	if s.in != nil && s.in.Buffered() > 0 {
		return s.in.Read(p)
	}
	s.in = nil
	return s.Conn.Read(p)
}

// Write implements net.Conn.
func (s *switched) Write(p []byte) (int, error) {
	if len(s.spelling) == 0 {
		return s.Conn.Write(p)
	}
	out := string(p)
	for _, name := range s.spelling {
		canonical := http.CanonicalHeaderKey(name)
		out = strings.Replace(out, "\r\n"+canonical+":", "\r\n"+name+":", 1)
	}
	s.spelling = nil
	if _, err := io.WriteString(s.Conn, out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends this side.
func (s *switched) CloseWrite() error {
	if w, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return http.ErrNotSupported
}

var _ interface{ CloseWrite() error } = (*switched)(nil)

package publish

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
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

// maxTunnels is how many tunnels one visitor's connection may have at once, of
// maxVisitorStreams: so some are always left for requests.
const maxTunnels = 64

// A tunnel is a WebSocket that a visitor opens over HTTP/2, with extended CONNECT
// (RFC 8441). To the service, and to gate and routes, it is the GET with Upgrade that
// it would be over HTTP/1.1 (RFC 6455, section 4.1). Here it is the visitor's
// ResponseWriter, and once the service has switched, its connection.
type tunnel struct {
	http.ResponseWriter
	body io.ReadCloser // what the visitor sends
	key  string        // Sec-WebSocket-Key

	answered bool        // with a head, that is not an interim one
	refused  bool        // that of success has become one of failure, and the body is dropped
	gone     atomic.Bool // the visitor has reset its stream, or its connection has broken
	cut      atomic.Bool // the service's connection has broken

	sending sync.Mutex // held while the service's bytes are written, and at the end
	ended   bool       // the request has ended: nothing may be written any more
}

// pseudoProtocol is where net/http puts :protocol of a visitor that is not trusted
// with anything else in there: no field's name begins with a colon.
const pseudoProtocol = ":protocol"

// tunnel makes the request of a tunnel out of an extended CONNECT, or returns a page
// for one that cannot be. It does nothing with other requests.
func (x *exchange) openTunnel() *page.Page {
	r := x.request
	protocol, ok := r.Header[pseudoProtocol]
	if !ok {
		return nil
	}
	delete(r.Header, pseudoProtocol)
	switch {
	case r.Method != http.MethodConnect:
		return malformed("It names a protocol, and is no CONNECT.")
	case !equalFoldASCII(protocol[0], "websocket"):
		return &page.Page{
			Status: http.StatusNotImplemented, // RFC 9220, section 3
			Title:  "This protocol is not passed on",
			Text:   "Inside HTTP/2, WebSockets are passed on and nothing else.",
		}
	}
	if x.visit.tunnels.Add(1) > maxTunnels {
		x.visit.tunnels.Add(-1)
		return &overloaded
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	t := &tunnel{ResponseWriter: x.ResponseWriter, body: r.Body, key: base64.StdEncoding.EncodeToString(key[:])}
	x.tunnel, x.ResponseWriter = t, t
	r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
	h := r.Header
	h.Del("Content-Length")
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Set("Sec-Websocket-Key", t.key)
	h.Del("Sec-Websocket-Accept")
	return nil
}

// closeTunnel is called at the end of a request.
func (x *exchange) closeTunnel() {
	if x.tunnel != nil {
		x.tunnel.end()
		x.visit.tunnels.Add(-1)
	}
}

// end drops what the service sends from now on: when the request has ended nothing may
// be written to the visitor's ResponseWriter. ReverseProxy ends the request when one
// direction has broken, and the other direction goes on.
func (t *tunnel) end() {
	if !t.sending.TryLock() {
		// It may wait for a visitor that takes nothing. One side has broken: this
		// resets the stream.
		_ = http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
		t.sending.Lock()
	}
	t.ended = true
	t.sending.Unlock()
}

// accepts reports whether an answer that switches is one to the tunnel's key. The
// visitor cannot tell (RFC 8441, section 5).
func (t *tunnel) accepts(h http.Header) bool {
	return strings.TrimSpace(h.Get("Sec-Websocket-Accept")) == acceptOf(t.key)
}

// acceptOf is the Sec-WebSocket-Accept for a key (RFC 6455, section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 asks for it
	return base64.StdEncoding.EncodeToString(sum[:])
}

// WriteHeader sends the head of an answer without a switch. One of success would say
// that there is a tunnel: it becomes 501.
func (t *tunnel) WriteHeader(code int) {
	if t.answered {
		return
	}
	t.answered = code >= 200
	if code < 200 || code > 299 {
		t.ResponseWriter.WriteHeader(code)
		return
	}
	t.refused = true
	h := t.Header()
	clear(h)
	h["Content-Type"] = nil
	t.ResponseWriter.WriteHeader(http.StatusNotImplemented)
}

// Write implements http.ResponseWriter.
func (t *tunnel) Write(p []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if t.refused {
		return len(p), nil
	}
	return t.ResponseWriter.Write(p)
}

// FlushError sends what there is, a head at least.
func (t *tunnel) FlushError() error {
	t.WriteHeader(http.StatusOK)
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (t *tunnel) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// open tells the visitor that there is a tunnel, with the answer of a service that has
// switched. The head of that answer as HTTP/1.1 has it, which the caller writes into
// the reader and writer, goes nowhere.
func (t *tunnel) open(answer http.Header) (net.Conn, *bufio.ReadWriter, error) {
	h := t.Header()
	for name, values := range answer {
		if !fields.OfMessage(name) || name == "Sec-Websocket-Protocol" || name == "Sec-Websocket-Extensions" {
			h[name] = values
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
	t.answered = true
	t.ResponseWriter.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(t.ResponseWriter).Flush(); err != nil {
		return nil, nil, err
	}
	c := tunnelConn{t}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(io.Discard)), nil
}

// Reset notes that the service's connection has broken: the visitor's stream is reset
// when the request ends.
func (t *tunnel) Reset() error {
	t.cut.Store(true)
	return nil
}

// Broken returns an error if the visitor's side has broken.
func (t *tunnel) Broken() error {
	if t.gone.Load() {
		return errTunnelGone
	}
	return nil
}

var (
	errTunnelGone = errors.New("the visitor has reset the stream")
	// errTunnelEnds ends a tunnel in good order: the service has ended its side.
	errTunnelEnds = errors.New("the service has ended the WebSocket")
)

// A tunnelConn is the visitor's side of a tunnel as a connection.
type tunnelConn struct{ *tunnel }

// Read returns what the visitor sends, and io.EOF at the end of its stream.
func (c tunnelConn) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if err != nil && err != io.EOF {
		c.gone.Store(true)
	}
	return n, err
}

// Write sends at once.
func (c tunnelConn) Write(p []byte) (int, error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.ended {
		return 0, errTunnelGone
	}
	n, err := c.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(c.ResponseWriter).Flush()
	}
	if err != nil {
		c.gone.Store(true)
	}
	return n, err
}

// CloseWrite ends both sides, with an error that says so: net/http can end a stream
// no earlier than its handler. A service ends a WebSocket when both have said so (RFC
// 6455, section 7.1.1), and then nothing is lost.
func (c tunnelConn) CloseWrite() error { return errTunnelEnds }

// Close ends what is read. The stream ends with the request.
func (c tunnelConn) Close() error { return c.body.Close() }

func (c tunnelConn) LocalAddr() net.Addr              { return tunnelAddr{} }
func (c tunnelConn) RemoteAddr() net.Addr             { return tunnelAddr{} }
func (c tunnelConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c tunnelConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c tunnelConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// A tunnelAddr is no address.
type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "h2" }
func (tunnelAddr) String() string  { return "a stream" }

var (
	_ interface{ CloseWrite() error } = (*tunnelConn)(nil)
	_ stream                          = (*tunnel)(nil)
)

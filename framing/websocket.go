package framing

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"keystay/internal/socket"
)

const (
	// WebSocketPath is where a relay takes links over a WebSocket, on its own
	// name (PROTOCOL.md, section 9).
	WebSocketPath = "/.well-known/keystay/link"
	// WebSocketProtocol is the subprotocol of such a link (RFC 6455, section
	// 1.9). It is not [Protocol], since no "/" may be in it.
	WebSocketProtocol = "keystay.1"
	// PongInterval is the least time between two answers to WebSocket pings.
	PongInterval = time.Second

	maxUpgrade = 16 << 10 // header of the answer to an upgrade, in bytes
)

// An UpgradeError is the error of a server that answers the upgrade to a
// WebSocket with something else.
type UpgradeError struct {
	Status int // the HTTP status
}

func (e *UpgradeError) Error() string {
	return fmt.Sprintf("it answers a WebSocket upgrade with %d %s", e.Status, http.StatusText(e.Status))
}

// DialWebSocket makes conn, a TLS connection to the relay called host after its
// handshake, a WebSocket that can carry a link. The ALPN protocol must be
// http/1.1, or none. ctx bounds the upgrade. The error is an *UpgradeError when
// the server does not take part. DialWebSocket closes conn when it fails; else
// the connection that it returns owns it.
func DialWebSocket(ctx context.Context, conn *tls.Conn, host string) (net.Conn, error) {
	c := &webSocket{conn: &gatherer{Conn: conn}}
	//nolint:bodyclose // the body of an upgrade is the connection, which c owns
	ws, resp, err := websocket.Dial(ctx, "wss://"+host+WebSocketPath, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport: &http.Transport{
				DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return c.conn, nil },
				MaxResponseHeaderBytes: maxUpgrade,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:     http.Header{"User-Agent": {"keystay"}},
		Subprotocols:   []string{WebSocketProtocol},
		OnPingReceived: c.pinged,
	})
	switch {
	case err != nil:
		conn.Close()
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, &UpgradeError{resp.StatusCode}
		}
		return nil, fmt.Errorf("upgrade to a WebSocket: %w", err)
	case ws.Subprotocol() != WebSocketProtocol:
		ws.CloseNow()
		return nil, protocolErrorf("a WebSocket without the subprotocol %s", WebSocketProtocol)
	}
	c.begin(ws)
	return c, nil
}

// AcceptWebSocket answers a request for a link over a WebSocket. The proof in
// the HELLO that comes on the connection it returns is verified against r.TLS.
// When it fails it has answered with a reason. No deadline of the HTTP server
// holds for the connection, and the server's Close does not reach it.
func AcceptWebSocket(w http.ResponseWriter, r *http.Request) (net.Conn, error) {
	if status, reason := upgradeRefusal(r); reason != "" {
		http.Error(w, reason, status)
		return nil, errors.New(reason)
	}
	c := new(webSocket)
	ws, err := websocket.Accept(&hijacker{w, c}, r, &websocket.AcceptOptions{
		Subprotocols:   []string{WebSocketProtocol},
		OnPingReceived: c.pinged,
	})
	if err != nil {
		return nil, fmt.Errorf("upgrade to a WebSocket: %w", err)
	}
	c.begin(ws)
	return c, nil
}

// upgradeRefusal says why a request gets no link, or nothing. What RFC 6455
// asks for is checked by the library.
func upgradeRefusal(r *http.Request) (status int, reason string) {
	var offered []string
	for _, h := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			offered = append(offered, strings.TrimSpace(p))
		}
	}
	switch {
	case len(r.Header.Values("Origin")) > 0: // every browser sends it with an upgrade
		return http.StatusForbidden, "this is no place for a browser"
	case r.TLS == nil || r.TLS.Version != tls.VersionTLS13: // the proof needs its exporter
		return http.StatusBadRequest, "a link needs TLS 1.3"
	case !slices.Contains(offered, WebSocketProtocol):
		return http.StatusBadRequest, "a link is a WebSocket with the subprotocol " + WebSocketProtocol
	}
	return 0, ""
}

// A hijacker notes the connection that a WebSocket takes over.
type hijacker struct {
	http.ResponseWriter
	c *webSocket
}

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	tc, ok := socket.Find[*tls.Conn](conn)
	if !ok {
		conn.Close()
		return nil, nil, fmt.Errorf("a connection of type %T instead of TLS", conn)
	}
	h.c.conn = &gatherer{Conn: tc}
	rw.Writer.Reset(h.c.conn)
	return h.c.conn, rw, nil
}

// A webSocket is a WebSocket as the connection of a link: its binary messages,
// put together, are the bytes of the link. Where one message ends and the next
// begins means nothing. An error of Read or Write, that of a deadline included,
// is the end of it.
type webSocket struct {
	conn *gatherer
	ws   *websocket.Conn
	rest io.Reader // of the message that is being read, or nil
	pong time.Time // when a ping was last answered; used by the reader alone
}

func (c *webSocket) begin(ws *websocket.Conn) {
	ws.SetReadLimit(-1) // nothing keeps a message as a whole
	c.ws = ws
}

// pinged decides whether a ping is answered. Nothing here sends any: liveness
// is the link's own matter.
func (c *webSocket) pinged(context.Context, []byte) bool {
	now := time.Now()
	if now.Sub(c.pong) < PongInterval {
		return false
	}
	c.pong = now
	return true
}

// Read returns io.EOF when the other side has closed the WebSocket, or the TLS
// connection, in good order.
func (c *webSocket) Read(p []byte) (int, error) {
	for {
		if c.rest == nil {
			// A context that can end would cost a timer for each Read: the
			// deadlines are those of the connection below.
			kind, r, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, readError(err)
			}
			if kind != websocket.MessageBinary {
				return 0, protocolErrorf("a WebSocket message of text")
			}
			c.rest = r
		}
		n, err := c.rest.Read(p)
		if err == io.EOF {
			c.rest, err = nil, nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

func readError(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}

// Write sends p as one message. The write deadline holds for this call alone:
// answers to pings, which the WebSocket writes by itself, have their own.
func (c *webSocket) Write(p []byte) (int, error) {
	c.conn.hold()
	err := c.ws.Write(context.Background(), websocket.MessageBinary, p)
	if err := errors.Join(err, c.conn.release()); err != nil {
		return 0, err
	}
	c.conn.SetWriteDeadline(time.Time{})
	return len(p), nil
}

// Close closes the TLS connection in good order. There is no closing handshake
// of the WebSocket: GOAWAY is the link's own.
func (c *webSocket) Close() error { return c.ws.CloseNow() }

// CloseWrite tells the other side that nothing more comes, by TLS. A link has no
// use for it.
func (c *webSocket) CloseWrite() error { return c.conn.CloseWrite() }

// NetConn returns the TLS connection below.
func (c *webSocket) NetConn() net.Conn { return c.conn.Conn }

func (c *webSocket) LocalAddr() net.Addr                { return c.conn.LocalAddr() }
func (c *webSocket) RemoteAddr() net.Addr               { return c.conn.RemoteAddr() }
func (c *webSocket) SetDeadline(t time.Time) error      { return c.conn.SetDeadline(t) }
func (c *webSocket) SetReadDeadline(t time.Time) error  { return c.conn.SetReadDeadline(t) }
func (c *webSocket) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

var _ interface {
	net.Conn
	CloseWrite() error
} = (*webSocket)(nil)

// A gatherer is a connection that can put several writes together. The library
// writes a message 4 KiB at a time, and each write would be a TLS record.
type gatherer struct {
	*tls.Conn
	mu   sync.Mutex // held while writing
	held *[]byte    // from recordBuffers, between hold and release
}

var _ interface {
	net.Conn
	CloseWrite() error
} = (*gatherer)(nil)

func (g *gatherer) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = recordBuffers.Get().(*[]byte)
	*g.held = (*g.held)[:0]
}

// release writes what has come since hold.
func (g *gatherer) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.held
	g.held = nil
	defer recordBuffers.Put(b)
	_, err := g.Conn.Write(*b)
	return err
}

func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		*g.held = append(*g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// recordBuffers holds the buffers of gatherers.
var recordBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 16<<10)
	return &b
}}

package publish

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/unheard"
)

// Visitors returns ln with its HTTP/1 connections wrapped, so that Handler knows
// what net/http does not tell: how a request's fields are spelt, and whether a
// visitor has ended its side or is gone. It skips one empty line in front of a
// request (RFC 9112, section 2.2). TLS must have been ended, with the handshake
// over, when Accept returns; other connections stay as they are.
func Visitors(ln net.Listener) net.Listener { return visitors{ln} }

type visitors struct{ net.Listener }

// Accept implements net.Listener.
func (l visitors) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	tc, ok := c.(*tls.Conn)
	if err != nil || !ok {
		return c, err
	}
	state := tc.ConnectionState()
	if !state.HandshakeComplete || state.NegotiatedProtocol == "h2" {
		return c, nil
	}
	return &visitorConn{Conn: tc, state: &state, unheard: unheard.Of(tc)}, nil
}

// A visitorConn is an HTTP/1 connection of a visitor.
type visitorConn struct {
	*tls.Conn
	state   *tls.ConnectionState
	unheard *unheard.Bound

	cut    atomic.Bool                // it has ended without a close_notify, or broken
	status atomic.Pointer[statusLine] // for the answer that is about to be written
	last   atomic.Pointer[time.Time]  // until when it is read; nil is without an end

	mu      sync.Mutex
	in      follower
	heads   []head // of requests that have not been served
	skipped emptyLine
	serving bool // a request is
	lines   int  // that have come since the last one was served, while in is lost
}

// maxFields is how many fields the head of a visitor's request may have over
// HTTP/1. The bytes of a head are bounded by maxHeaderBytes alone, and a field of
// five bytes costs net/http some 130. Over HTTP/2 each field counts for 32 bytes
// more than it has (RFC 9113, section 6.5.2), which bounds them, too.
const maxFields = 1000

// errFields is the error of reading a head with more. It is answered with 400.
var errFields = errors.New("a head with too many fields")

// An emptyLine is what has been skipped before a request.
type emptyLine int

const (
	none emptyLine = iota
	cr             // half of it
	lf             // all of it
)

// A statusLine is what net/http writes in front of an answer, and what is to be
// there.
type statusLine struct{ old, new string }

// Read is the connection's but for an empty line before a request.
func (c *visitorConn) Read(p []byte) (int, error) {
	for {
		if c.hasManyFields() {
			return 0, errFields
		}
		n, err := c.Conn.Read(p)
		if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.cut.Store(true)
		}
		if n > 0 {
			c.unheard.Set(unheard.Most)
			n = c.look(p[:n])
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// endBy has nothing be read of the connection any more from a time on.
func (c *visitorConn) endBy(t time.Time) {
	c.last.Store(&t)
	_ = c.SetReadDeadline(t)
}

// SetReadDeadline is the connection's, but for what endBy says.
func (c *visitorConn) SetReadDeadline(t time.Time) error {
	if last := c.last.Load(); last != nil && (t.IsZero() || t.After(*last)) {
		t = *last
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *visitorConn) hasManyFields() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.fields > maxFields || c.lines > maxFields
}

// look follows what has been read, takes empty lines out, and returns how many
// bytes are left: none of a head with too many fields.
func (c *visitorConn) look(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	for i := 0; i < n; {
		if c.in.fresh() {
			if k := c.skip(p[i:n]); k > 0 {
				n = i + copy(p[i:n], p[i+k:n])
				continue
			}
		}
		c.skipped = none
		if c.in.place == lost && !c.serving { // net/http may still find a head there
			c.lines += bytes.Count(p[i:n], []byte("\n"))
		}
		k := c.in.follow(p[i:n], func(h head) { c.heads = append(c.heads, h) })
		if c.in.fields > maxFields || c.lines > maxFields {
			return i
		}
		i += k
	}
	return n
}

// skip is how many bytes in front of p belong to one empty line.
func (c *visitorConn) skip(p []byte) int {
	k := 0
	if c.skipped == none && p[0] == '\r' && (len(p) == 1 || p[1] == '\n') {
		c.skipped, k = cr, 1
	}
	if c.skipped < lf && k < len(p) && p[k] == '\n' {
		c.skipped = lf
		return k + 1
	}
	return k
}

// take returns the head of the request that is served now. It is empty when
// nothing is known.
func (c *visitorConn) take() head {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving, c.lines = true, 0
	if len(c.heads) == 0 {
		return head{}
	}
	h := c.heads[0]
	c.heads = c.heads[1:]
	return h
}

// served tells that the request that was taken is over.
func (c *visitorConn) served() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving = false
	c.in.resume()
}

// Write is the connection's but for the status line.
func (c *visitorConn) Write(p []byte) (int, error) {
	line := c.status.Load()
	if line == nil || !bytes.HasPrefix(p, []byte(line.old)) {
		return c.Conn.Write(p)
	}
	c.status.Store(nil)
	out := append([]byte(line.new), p[len(line.old):]...)
	if n, err := c.Conn.Write(out); err != nil {
		return min(n, len(p)-1), err
	}
	return len(p), nil
}

var _ interface{ CloseWrite() error } = (*visitorConn)(nil)

// maxSpelling is about how many spellings of an answer's interim heads are kept.
const maxSpelling = 256

// An answerConn is an HTTP/1 connection to the local service, above TLS where
// there is TLS.
type answerConn struct {
	net.Conn

	mu      sync.Mutex
	in      follower
	told    *head  // of the answer under way; see asked
	opening []byte // what the connection begins with, see protocolOf
	ended   bool   // nothing more can be read
}

// Read implements net.Conn.
func (c *answerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = c.ended || err != nil
	if missing := openingSize - len(c.opening); missing > 0 {
		c.opening = append(c.opening, p[:min(n, missing)]...)
	}
	for i := 0; i < n; {
		i += c.in.follow(p[i:n], c.tell)
	}
	return n, err
}

// tell keeps a head of the answer. The next may have been read before an interim
// one is passed on (status 1xx), so their spellings are kept together.
func (c *answerConn) tell(h head) {
	if c.told == nil { // a service that speaks first
		return
	}
	if len(c.told.spelling) < maxSpelling {
		h.spelling = append(c.told.spelling, h.spelling...)
	}
	*c.told = h
}

// asked tells that a request with the method is about to be sent, and returns what is
// filled in with the head of its answer: that of no other request, for which the connection
// may be used before this one is looked at.
func (c *answerConn) asked(method string) (told *head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.next(method)
	c.told = new(head)
	return c.told
}

// read is what has been read so far of a head that asked has returned.
func (c *answerConn) read(told *head) head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *told
}

// hasAnswered reports whether the head of the final answer has begun to come.
func (c *answerConn) hasAnswered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.status >= 200
}

// heard returns what the connection begins with, and whether it has ended in the
// middle of an answer's head.
func (c *answerConn) heard() (opening []byte, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := c.in.place == inHead || c.in.place == atStart && len(c.in.line) > 0
	return c.opening, c.ended && begun
}

// cutInTrailer reports whether the connection has ended in the middle of an
// answer's trailer.
func (c *answerConn) cutInTrailer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && c.in.place == inTrailer
}

// holds reports whether more than read bytes of the answer's body have come from
// the service, or its end.
func (c *answerConn) holds(read int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.place == over || c.in.payload > read
}

// CloseWrite ends this side.
func (c *answerConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is the connection underneath.
func (c *answerConn) NetConn() net.Conn { return c.Conn }

var _ interface{ CloseWrite() error } = (*answerConn)(nil)
